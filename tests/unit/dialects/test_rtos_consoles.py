"""What holds for the consoles of all systems alike, shown on their golden logs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import line_prefixes, noise_lines

from heaptrail.dialects import CONFIGURED, REGISTRY, Line
from heaptrail.limits import DEFAULT_LIMITS, Limits
from heaptrail.model.observations import Block, Dump
from heaptrail.reading import ReadOptions, observe
from heaptrail.reading.session import Session, make_dialects
from heaptrail.reading.sources import Chunk

if TYPE_CHECKING:
    from collections.abc import Callable

    from heaptrail.model.observations import AnyObservation

GOLDENS = Path(__file__).resolve().parents[2] / "golden" / "dialects"
NAMES = [name for name in REGISTRY if name not in CONFIGURED]
LOGS = [path for name in NAMES for path in sorted((GOLDENS / name).glob("*.txt"))]
ORDERLY = [path for path in LOGS if "ugly" not in path.stem and "web-page" not in path.stem]
FORMATTED = [path for path in ORDERLY if path.parent.name != "firmware" and path.stem != "oneliners"]
"""Logs whose lines have a form to rely on; in home-made ones a figure that was cut looks whole."""
ALIKE = {
    "espidf": {"firmware"},  # where the user says that it is an ESP
    "firmware": {"ameba", "espidf", "tina"},  # asked last, so that theirs count
    "tina": {"freertos", "heaptrail"},  # one table of tasks, one tracer's words
}
"""Dialect to those of whose golden logs it understands some lines."""
EVERY_LOG = sorted(GOLDENS.glob("*/*.txt"))
EVERY_LINE = [line for path in EVERY_LOG for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]


def read_lines(name: str, lines: list[str]) -> list[AnyObservation]:
    return read_text(name, "".join(f"{line}\n" for line in lines))


def read_text(name: str, text: str) -> list[AnyObservation]:
    session = Session(make_dialects(name, DEFAULT_LIMITS), DEFAULT_LIMITS, system=name)
    found = list(session.chunk(Chunk(text.encode())))
    return found + list(session.finish())


def said_by(name: str, found: list[AnyObservation]) -> list[dict[str, Any]]:
    """What a dialect said, without the place where it said it, which stands in sentences, too."""
    said = [msgspec.to_builtins(each) for each in found if each.dialect == name]
    return [{key: value for key, value in each.items() if key not in ("line", "t_s", "text")} for each in said]


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
    elif path.parent.name not in ALIKE.get(name, ()):
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


def squeezed(line: str) -> str:
    return " ".join(line.split())


FORMS: dict[str, Callable[[list[str]], str]] = {
    "CR LF": lambda lines: "\r\n".join(lines) + "\r\n",
    "CR CR LF": lambda lines: "\r\r\n".join(lines) + "\r\r\n",
    "byte order mark": lambda lines: "\ufeff" + "\n".join(lines) + "\n",
    "blanks behind": lambda lines: " \n".join(lines) + " \n",
    "no-break spaces": lambda lines: "\n".join(line.replace("  ", " \u00a0") for line in lines) + "\n",
    "fences": lambda lines: "```text\n" + "\n".join(lines) + "\n```\n",
    "quoted": lambda lines: "\n".join(f"> {line}" if line else line for line in lines) + "\n",
    "indented": lambda lines: "\n".join(f"    {line}" for line in lines) + "\n",
    "coloured": lambda lines: "\n".join(f"\x1b[0;32m{line}\x1b[0m" for line in lines) + "\n",
    "inline code": lambda lines: "".join(f"`{line}`\n" for line in lines),
    "bold": lambda lines: "".join(
        f"**{line.strip()}**\n" if line.strip()[:1] not in ("", "*") else f"{line}\n" for line in lines
    ),
    "page numbers": lambda lines: "".join(f"{at}\t{line}\n" for at, line in enumerate(lines, 41)),
    "page numbers, glued": lambda lines: "".join(f"{at}{line}\n" for at, line in enumerate(lines, 1)),
    "Arduino IDE": lambda lines: "".join(f"13:31:39.719 -> {line}\n" for line in lines),
    "arduino-esp32": lambda lines: "".join(f"[  5012][I][main.cpp:40] report(): {line}\n" for line in lines),
    "ESPHome": lambda lines: "".join(f"[12:34:56][D][debug:103]: {line}\n" for line in lines),
    "Zephyr's log": lambda lines: "".join(f"[00:00:09.120,000] <inf> app: {line}\n" for line in lines),
    "RT-Thread's log": lambda lines: "".join(f"[I/app] {line}\n" for line in lines),
    "Tera Term": lambda lines: "".join(f"[Mon May 06 12:34:56.789 2024] {line}\n" for line in lines),
    "no last line end": "\n".join,
}
"""How logs reach an issue thread: what each of these does to the lines loses nothing that they say."""


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("path", ORDERLY, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_way_that_a_log_took_changes_nothing(path: Path, form: str) -> None:
    name = path.parent.name
    lines = path.read_text(encoding="utf-8").splitlines()

    found = read_text(name, FORMS[form](lines))

    assert said_by(name, found) == said_by(name, read_lines(name, lines))


@pytest.mark.parametrize("path", ORDERLY, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_squeezed_blanks_never_make_another_figure(path: Path) -> None:
    name = path.parent.name
    lines = path.read_text(encoding="utf-8").splitlines()

    found = facts(said_by(name, read_lines(name, [squeezed(line) for line in lines])))

    assert found <= facts(said_by(name, read_lines(name, lines)))


@pytest.mark.parametrize("column", [80, 132])
@pytest.mark.parametrize(
    "path",
    [path for path in ORDERLY if path.parent.name != "firmware"],
    ids=lambda path: f"{path.parent.name}-{path.stem}",
)
def test_lines_broken_at_a_terminals_edge_never_make_another_figure(path: Path, column: int) -> None:
    name = path.parent.name
    lines = path.read_text(encoding="utf-8").splitlines()
    broken = [line[at : at + column] for line in lines for at in range(0, max(len(line), 1), column)]

    found = facts(said_by(name, read_lines(name, broken)))

    assert found <= facts(said_by(name, read_lines(name, lines)))


def facts(said: list[dict[str, Any]]) -> set[tuple[Any, ...]]:
    """What must not be invented: a block's place and size, a reading's and a task's figures."""
    blocks = {(each["address"], each["size_bytes"]) for each in said if each["kind"] in ("block", "event")}
    figures = {
        (each["kind"], key, value)
        for each in said
        if each["kind"] in ("heap_sample", "task")
        for key, value in each.items()
        if key.endswith(("_bytes", "_words", "_blocks", "_percent", "allocations", "frees")) and value is not None
    }
    return blocks | figures


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
