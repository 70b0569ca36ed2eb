"""Both searches find the same lines."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heaptrail.reading import finder
from heaptrail.reading.finder import Finder, by_automaton, by_hyperscan

NEEDLES = {b"free": 1, b"ree ": 2, b"ptr = 0x": 4, b"\t\t": 8, b"Free": 16, b"heap": 32}

logs = st.lists(
    st.sampled_from([*NEEDLES, b"f", b"r", b"e", b" ", b"ptr", b"\n", b"\n", b"\xff", b"\0", b"heapheap"]), max_size=60
).map(b"".join)


def expected(data: bytes) -> list[tuple[int, int, int]]:
    """The same, line by line."""
    found, at = [], 0
    for line in data.split(b"\n"):
        held = sum(bit for needle, bit in NEEDLES.items() if needle in line)
        if held:
            found.append((at, at + len(line), held))
        at += len(line) + 1
    return found


@settings(deadline=None)
@given(logs)
def test_the_lines_are_those_that_hold_a_substring(data: bytes) -> None:
    assert Finder(NEEDLES).lines(data) == expected(data)


@settings(deadline=None)
@given(logs)
def test_the_faster_search_says_the_same(data: bytes) -> None:
    fast = by_hyperscan(list(NEEDLES))
    if fast is None:
        pytest.skip("needs hyperscan (pip install 'heaptrail[fast]')")
    assert sorted(fast(data)) == sorted(by_automaton(list(NEEDLES))(data))


def test_a_long_log_is_searched_on_by_the_faster_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finder, "_LONG_BYTES", 100)
    searching = Finder(NEEDLES)
    data = b"heap 1\nnothing\nfree 2\n" * 10

    assert [searching.lines(data) for _ in range(3)] == [expected(data)] * 3


def test_without_it_the_other_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finder, "_LONG_BYTES", 1)
    monkeypatch.setattr(finder, "by_hyperscan", lambda _needles: None)

    assert Finder(NEEDLES).lines(b"heap\n") == expected(b"heap\n")
