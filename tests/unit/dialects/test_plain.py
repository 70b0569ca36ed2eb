"""Lines of the user's own: the dialects `csv` and `regex`, which read what the user describes and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from heaptrail.errors import UsageError
from heaptrail.model.observations import HeapSample, Problem
from heaptrail.reading import ReadOptions, observe, read_logs

if TYPE_CHECKING:
    from collections.abc import Callable

HOME_MADE = r"free: (?P<free>\d+) \(lowest (?P<min_free>\d+)"


def samples(folder: Path, text: str, options: ReadOptions) -> list[HeapSample]:
    log = folder / "console.log"
    log.write_text(text)
    return [found for found in observe(log, options) if isinstance(found, HeapSample)]


def test_a_pattern_reads_home_made_lines(tmp_path: Path) -> None:
    text = "boot ok\n[12:00:01] app: free: 12345 (lowest 12001)\nfree: 12,3 (lowest 1)\nfree: 12300 (lowest 11990)\n"

    found = samples(tmp_path, text, ReadOptions(pattern=HOME_MADE))

    assert [(each.line, each.free_bytes, each.min_free_bytes) for each in found] == [
        (2, 12345, 12001),
        (4, 12300, 11990),
    ]
    assert {each.dialect for each in found} == {"regex"}


def test_columns_read_a_table_with_its_heading(tmp_path: Path) -> None:
    text = "t_s,heap,state,free\n0.5,sram,idle,281720\n1.5,sram,,281000\n2.5,sram,idle\nfree, as in beer, is, not\n"

    found = samples(tmp_path, text, ReadOptions(columns=("t_s", "heap", "-", "free")))

    assert [(each.t_s, each.heap, each.free_bytes) for each in found] == [(0.5, "sram", 281720), (1.5, "sram", 281000)]


@pytest.mark.parametrize("cell", ["nan", "inf", "1e400", "-5", "12.5", "0x", "9" * 400, "", "1_0_"])
def test_what_is_no_size_is_left_alone(tmp_path: Path, cell: str) -> None:
    assert not samples(tmp_path, f"1,{cell}\n", ReadOptions(columns=("t_s", "free")))


def test_a_row_that_does_not_fit_is_said_and_the_rest_of_many_counted(tmp_path: Path) -> None:
    log = tmp_path / "console.log"
    log.write_text("0.5,281720\n" + "1.0,28l000\n" * 30)

    found = [each.text for each in observe(log, ReadOptions(columns=("t_s", "free"))) if isinstance(each, Problem)]

    assert len(found) == 21
    assert found[0] == "a row does not fit: free is '28l000', which is no size or time; it is left out"
    assert found[-1] == "10 more such lines are left out; this is the last of them"


def test_a_match_that_holds_no_size_is_said(tmp_path: Path) -> None:
    log = tmp_path / "console.log"
    log.write_text("left=12x\n")

    (found,) = observe(log, ReadOptions(pattern=r"left=(?P<free>\w+)"))

    assert isinstance(found, Problem)
    assert found.text == "the pattern fits, but free is '12x', which is no size or time; it is left out"


def test_hexadecimal_sizes_and_milliseconds_are_read(tmp_path: Path) -> None:
    (found,) = samples(tmp_path, "2500;0xA100\n", ReadOptions(columns=("t_ms", "free")))

    assert (found.t_s, found.free_bytes) == (2.5, 0xA100)


def test_other_systems_are_read_beside_it_unless_the_dialect_is_forced(tmp_path: Path) -> None:
    text = "free: 12345 (lowest 12001)\nxPortGetFreeHeapSize: 41216\n"

    both = samples(tmp_path, text, ReadOptions(pattern=HOME_MADE))
    alone = samples(tmp_path, text, ReadOptions(pattern=HOME_MADE, dialect="regex"))

    assert {each.dialect for each in both} == {"regex", "freertos"}
    assert {each.dialect for each in alone} == {"regex"}


def test_a_pattern_without_a_substring_of_its_own_is_tried_on_every_line(tmp_path: Path) -> None:
    found = samples(tmp_path, "a\n12345 B\nb\n12344 B\n", ReadOptions(pattern=r"^(?P<free>\d+) B$"))

    assert [each.free_bytes for each in found] == [12345, 12344]


def test_a_log_of_home_made_lines_is_evidence_like_any_other(tmp_path: Path) -> None:
    log = tmp_path / "console.log"
    log.write_text("".join(f"free: {50_000 - 40 * i}\nround done\n" for i in range(50)))

    evidence = read_logs([log], ReadOptions(pattern=r"free: (?P<free>\d+)", cycle_mark="round done"))

    assert [sample.cycle for sample in evidence.samples] == list(range(50))
    assert evidence.captures[0].dialects == ("regex",)


def test_a_capture_brings_the_description_along(tmp_path: Path) -> None:
    head = {"version": 2, "width": 80, "height": 24, "heaptrail": {"schema": 1, "pattern": r"free: (?P<free>\d+)"}}
    capture = tmp_path / "run.cast"
    capture.write_text(f'{json.dumps(head)}\n[1.5, "o", "free: 12345\\r\\n"]\n')

    (found,) = [each for each in observe(capture, ReadOptions()) if isinstance(each, HeapSample)]

    assert (found.free_bytes, found.t_s) == (12345, 1.5)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (ReadOptions(dialect="csv"), "needs the names of the columns"),
        (ReadOptions(dialect="regex"), "needs a pattern"),
        (ReadOptions(pattern="free: ("), "no regular expression"),
        (ReadOptions(pattern=r"free: (\d+)"), "nothing to judge by"),
        (ReadOptions(pattern=r"(?P<fre>\d+)"), "no group can be named 'fre'"),
        (ReadOptions(columns=("t_s",)), "nothing to judge by"),
        (ReadOptions(columns=("free", "free_bytes")), "two columns are named"),
        (ReadOptions(columns=("free", "")), "no column can be named ''"),
    ],
)
def test_a_wrong_description_is_refused_before_any_file_is_opened(options: ReadOptions, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_logs([], options)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("csv/table", ReadOptions(columns=("t_s", "heap", "-", "free", "min_free"))),
        ("csv/damaged", ReadOptions(columns=("t_s", "free", "min_free"))),
        ("regex/home-made", ReadOptions(pattern=r"left=(?P<free>\d+) low=(?P<min_free>\d+)")),
    ],
)
def test_a_described_log_reads_as_before(name: str, options: ReadOptions, golden: Callable[[Path, str], bool]) -> None:
    log = Path(__file__).parents[2] / "golden" / "dialects" / f"{name}.txt"
    lines = [msgspec.json.encode(found).decode() for found in observe(log, options)]

    assert golden(log.with_suffix(".jsonl"), "\n".join(lines) + "\n")
