"""What holds for NuttX, RT-Thread, Zephyr, LiteOS, AliOS Things and TizenRT alike, shown on their golden logs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import line_prefixes, noise_lines

from heaptrail.dialects import REGISTRY, Line
from heaptrail.limits import DEFAULT_LIMITS, Limits
from heaptrail.model.observations import Block, Dump
from heaptrail.reading import ReadOptions, observe
from heaptrail.reading.session import Session, make_dialects
from heaptrail.reading.sources import Chunk

if TYPE_CHECKING:
    from collections.abc import Callable

    from heaptrail.model.observations import AnyObservation

GOLDENS = Path(__file__).resolve().parents[2] / "golden" / "dialects"
NAMES = [name for name in ("nuttx", "rtthread", "zephyr", "liteos", "alios", "tizenrt") if name in REGISTRY]
LOGS = [path for name in NAMES for path in sorted((GOLDENS / name).glob("*.txt"))]
ORDERLY = [path for path in LOGS if "ugly" not in path.stem]
EVERY_LOG = sorted(GOLDENS.glob("*/*.txt"))
EVERY_LINE = [line for path in EVERY_LOG for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]


def read_lines(name: str, lines: list[str]) -> list[AnyObservation]:
    session = Session(make_dialects(name, DEFAULT_LIMITS), DEFAULT_LIMITS, system=name)
    found = list(session.chunk(Chunk("".join(f"{line}\n" for line in lines).encode())))
    return found + list(session.finish())


def said_by(name: str, found: list[AnyObservation]) -> list[dict[str, Any]]:
    """What a dialect said, without the place where it said it."""
    said = [msgspec.to_builtins(each) for each in found if each.dialect == name]
    return [{key: value for key, value in each.items() if key not in ("line", "t_s")} for each in said]


@pytest.mark.parametrize("path", LOGS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_golden_log_reads_as_expected(path: Path, golden: Callable[[Path, str], None]) -> None:
    found = list(observe(path, ReadOptions(dialect=path.parent.name)))

    assert found
    golden(path.with_suffix(".jsonl"), "".join(f"{msgspec.json.encode(each).decode()}\n" for each in found))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("path", EVERY_LOG, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_dialect_is_silent_on_the_text_of_another_system(path: Path, name: str) -> None:
    said = [each for each in observe(path, ReadOptions(dialect=name)) if each.dialect == name]

    if path.parent.name == name:
        assert said, "a golden log without anything to read proves nothing"
    else:
        assert said == []


@pytest.mark.parametrize("path", ORDERLY, ids=lambda path: f"{path.parent.name}-{path.stem}")
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_lines_of_other_tasks_in_between_change_nothing(path: Path, data: st.DataObject) -> None:
    name = path.parent.name
    lines = path.read_text(encoding="utf-8").splitlines()
    noise = data.draw(st.dictionaries(st.integers(0, len(lines)), noise_lines(), max_size=len(lines)))

    mixed = [each for at, line in enumerate(lines) for each in ([noise[at], line] if at in noise else [line])]

    assert said_by(name, read_lines(name, mixed)) == said_by(name, read_lines(name, lines))


@pytest.mark.parametrize("path", ORDERLY, ids=lambda path: f"{path.parent.name}-{path.stem}")
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(prefix=line_prefixes())
def test_a_terminals_prefix_changes_nothing(path: Path, prefix: str) -> None:
    name = path.parent.name
    lines = path.read_text(encoding="utf-8").splitlines()

    prefixed = read_lines(name, [prefix + line for line in lines])

    assert said_by(name, prefixed) == said_by(name, read_lines(name, lines))


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=30, deadline=None)
@given(cut=st.integers(0, 4000), data=st.data())
def test_a_log_cut_anywhere_never_gives_a_record_that_the_whole_log_does_not_hold(
    name: str, cut: int, data: st.DataObject
) -> None:
    path = data.draw(st.sampled_from([each for each in ORDERLY if each.parent.name == name]))
    text = path.read_text(encoding="utf-8")[: cut + 1]
    whole = {
        (b["address"], b["size_bytes"])
        for b in said_by(name, list(observe(path, ReadOptions(dialect=name))))
        if b["kind"] == "block"
    }

    found = said_by(name, read_lines(name, text.splitlines()))

    assert {(b["address"], b["size_bytes"]) for b in found if b["kind"] == "block"} <= whole


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_mangled_lines_of_all_systems_are_read_to_their_end(name: str, data: st.DataObject) -> None:
    """Lines of any golden log in any order, with pieces cut out or put in, far apart or close together."""
    lines = data.draw(st.lists(st.sampled_from(EVERY_LINE), max_size=40))
    junk = st.sampled_from(["", "0x", "|", "9" * 25, "-", "PID ", "[", "é"])
    dialect = make_dialects(name, Limits(records_per_dump=3, tasks=3, frames_per_block=2))[0]
    number = 1
    found: list[AnyObservation] = []
    for line in lines:
        at = data.draw(st.integers(0, len(line)))
        mangled = line[:at] + data.draw(junk) + line[at + data.draw(st.integers(0, 6)) :]
        found += dialect.feed(Line(mangled, number))
        number += data.draw(st.sampled_from([1, 1, 1, 500]))
    found += dialect.finish()

    assert dialect.wants == 0
    assert list(dialect.finish()) == []
    assert sum(isinstance(each, Dump) for each in found) == len({e.dump for e in found if isinstance(e, Block | Dump)})


@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_line_costs_nothing(name: str) -> None:
    dialect = make_dialects(name, DEFAULT_LIMITS)[0]
    for line in EVERY_LINE:
        dialect.feed(Line(line, 1))

    began = time.process_time()
    for piece in (" ", "0x", "a ", "1 ", "|", "] ", "0x12345678 ", "a:"):
        dialect.feed(Line(piece * (DEFAULT_LIMITS.line_bytes // len(piece)), 2))

    assert time.process_time() - began < 0.5
