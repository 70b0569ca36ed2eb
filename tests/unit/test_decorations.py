"""What issue threads and web pages put around the lines of a log."""

from __future__ import annotations

import pytest

from heaptrail.reading.decorations import numbering_of, undecorated, without_number


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("> Free heap: 41000", "Free heap: 41000"),
        ("> > Free heap: 41000", "Free heap: 41000"),
        ("`Free heap: 41000`", "Free heap: 41000"),
        ("`12 bytes (@ 0x3ffb0000) allocated", "12 bytes (@ 0x3ffb0000) allocated"),
        ("12 bytes (@ 0x3ffb0000) allocated`", "12 bytes (@ 0x3ffb0000) allocated"),
        ("    **free 73808 allocated 151408**", "free 73808 allocated 151408"),
    ],
)
def test_marks_are_taken_off(line: str, text: str) -> None:
    assert undecorated(line) == text


@pytest.mark.parametrize(
    "line",
    [
        "> free",
        "> memleak 0",
        ">",
        "```text",
        "**** Heap ****",
        "** NOTE **",
        "*0x20001000: main",
        "-> 0x10",
        "a `b` c",
        "",
    ],
)
def test_what_may_be_the_consoles_own_stays(line: str) -> None:
    assert undecorated(line) == line


def test_line_numbers_of_a_page_are_told_from_a_table_that_counts() -> None:
    assert numbering_of(["40 nsh> ps", "41  PID", "42   0", "43   1", "44   2"]) == 39
    assert numbering_of(["1nsh> ps", "2  PID GROUP", "3    0     0", "4    1     1", "51 x"]) == 0
    assert numbering_of(["  PID GROUP", "    0     0", "    1     1", "    2     2", "    3     3"]) is None
    assert numbering_of(["1 a", "2 b", "3 c"]) is None, "too few to know"


def test_only_the_number_that_is_due_is_taken_off() -> None:
    assert without_number("41\t  At 0x3ffb0000 len 10", 41) == "  At 0x3ffb0000 len 10"
    assert without_number("42 x", 41) == "42 x"
