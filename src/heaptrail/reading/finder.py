"""Finds the lines worth looking at, without looking at the others: what makes a long log fast to read.

All substrings are searched in one pass, by the automaton of Aho and Corasick in its own library: on a night's log it
takes three times as long as `grep` with seven words, whatever the number of substrings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ahocorasick_rs import BytesAhoCorasick, Implementation

if TYPE_CHECKING:
    from collections.abc import Mapping


class Finder:
    """Searches blocks of whole lines for substrings.

    Args:
        needles: Substrings, none of which holds a line end, and the bits that each stands for. A line that holds none
            of them is passed over.
        every_line: There is something to be found that no substring tells, so look at every line.
    """

    def __init__(self, needles: Mapping[bytes, int], *, every_line: bool = False) -> None:
        self._bits = list(needles.values())
        self._search = BytesAhoCorasick(list(needles), implementation=Implementation.DFA)
        self.every_line = every_line

    def lines(self, data: bytes, first: int = 0) -> list[tuple[int, int, int]]:
        """Start, end and bits of the lines that hold a substring, in order; the first line begins at `first`."""
        found: list[tuple[int, int, int]] = []
        bits = self._bits
        start, end, held = 0, -1, 0
        text = data if first == 0 else data[first:]
        for which, offset, _ in self._search.find_matches_as_indexes(text, overlapping=True):
            at = first + offset
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
