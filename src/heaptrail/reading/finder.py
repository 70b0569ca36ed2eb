"""Finds the lines worth looking at, without looking at the others: what makes a long log fast to read.

All substrings are searched in one pass: by the automaton of Aho and Corasick in its own library, and from some
megabytes on by Hyperscan where it is installed (the extra `fast`), which takes a fifth of the time, but 0.1 s to get
ready. Both say the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ahocorasick_rs import BytesAhoCorasick, Implementation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    Search = Callable[[bytes], Iterable[tuple[int, int]]]

_LONG_BYTES = 8 << 20
"""From so much on it pays to make the faster search ready."""


class Finder:
    """Searches blocks of whole lines for substrings.

    Args:
        needles: Substrings, none of which holds a line end, and the bits that each stands for. A line that holds none
            of them is passed over.
        every_line: There is something to be found that no substring tells, so look at every line.
    """

    def __init__(self, needles: Mapping[bytes, int], *, every_line: bool = False) -> None:
        self._needles = list(needles)
        self._bits = list(needles.values())
        self._search = by_automaton(self._needles)
        self._until_fast = _LONG_BYTES
        self.every_line = every_line

    def lines(self, data: bytes, first: int = 0) -> list[tuple[int, int, int]]:
        """Start, end and bits of the lines that hold a substring, in order; the first line begins at `first`."""
        if self._until_fast > 0:
            self._until_fast -= len(data)
            if self._until_fast <= 0:
                self._search = by_hyperscan(self._needles) or self._search
        found: list[tuple[int, int, int]] = []
        bits = self._bits
        start, end, held = 0, -1, 0
        text = data if first == 0 else data[first:]
        for which, last in self._search(text):
            at = first + last
            if at <= end:
                held |= bits[which]
                continue
            if held:
                found.append((start, end, held))
            start = data.rfind(b"\n", 0, at) + 1
            end = data.find(b"\n", at)
            if end < 0:
                end = len(data)
            held = bits[which]
        if held:
            found.append((start, end, held))
        return found


def by_automaton(needles: Sequence[bytes]) -> Search:
    """A search that gives which substring was found and the place of its last byte, in order of the places."""
    automaton = BytesAhoCorasick(needles, implementation=Implementation.DFA)

    def search(text: bytes) -> list[tuple[int, int]]:
        found = automaton.find_matches_as_indexes(text, overlapping=True)
        return [(which, end - 1) for which, _, end in found]

    return search


def by_hyperscan(needles: Sequence[bytes]) -> Search | None:
    """The same search; None where Hyperscan is not installed or does not run on this processor."""
    try:
        import hyperscan  # noqa: PLC0415 - an extra, and only long logs need it
    except ImportError:
        return None
    database: Any = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    count = len(needles)
    try:
        database.compile(expressions=needles, ids=range(count), elements=count, flags=[0] * count, literal=True)
    except hyperscan.error:
        return None

    def search(text: bytes) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []

        def note(which: int, _start: int, end: int, _flags: int, _context: object) -> None:
            found.append((which, end - 1))

        database.scan(text, match_event_handler=note)
        return found

    return search
