"""Finds the lines worth looking at, without looking at the others: what makes a long log fast to read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from heaptrail.reading.pairs import PairSearch

_LARGE_BYTES = 1 << 18
"""From this size on a block is worth loading numpy for."""
_FEWEST_LITERAL = 3
"""A shorter literal is met so often that looking at every line costs no more."""


class Finder:
    """Searches blocks of whole lines for substrings.

    Args:
        needles: A line that holds none of them is passed over; each is of two bytes at least.
        every_line: There is something to be found that no substring tells, so look at every line.
    """

    def __init__(self, needles: Iterable[bytes], *, every_line: bool = False) -> None:
        wanted = set(needles)
        self._needles = sorted(n for n in wanted if not any(other in n for other in wanted if other != n))
        self._pairs: PairSearch | None = None
        self.every_line = every_line

    def line_starts(self, data: bytes) -> list[int]:
        """Offsets of the lines that hold a needle, in order; `data` begins at the start of a line."""
        if len(data) >= _LARGE_BYTES:
            return self._in_large(data)
        starts: set[int] = set()
        for needle in self._needles:
            at = data.find(needle)
            while at >= 0:
                starts.add(data.rfind(b"\n", 0, at) + 1)
                end = data.find(b"\n", at)
                at = data.find(needle, end) if end >= 0 else -1
        return sorted(starts)

    def _in_large(self, data: bytes) -> list[int]:
        if self._pairs is None:
            from heaptrail.reading.pairs import PairSearch  # noqa: PLC0415 - numpy is slow to load, short logs do without

            self._pairs = PairSearch(self._needles)
        starts: list[int] = []
        end = -1
        for at in self._pairs.positions(data):
            if at > end:
                starts.append(data.rfind(b"\n", 0, at) + 1)
                end = data.find(b"\n", at)
                if end < 0:
                    break
        return starts


def literal_of(pattern: str) -> str | None:
    """The longest substring that every match of a regular expression must hold; None where none is certain.

    It errs to the side of None: alternatives, flags and groups are not looked into.
    """
    if "|" in pattern or "(?" in pattern:
        return None
    runs: list[str] = [""]
    at = 0
    while at < len(pattern):
        step, literal = _atom(pattern, at)
        following = pattern[at + step : at + step + 1]
        if literal is not None and following not in {"?", "*", "{"}:
            runs[-1] += literal
        else:
            runs.append("")
        if following == "+":
            runs.append("")
        at += step
    longest = max(runs, key=len)
    return longest if len(longest) >= _FEWEST_LITERAL else None


_PAIRS = {"[": "]", "(": ")", "{": "}"}


def _atom(pattern: str, at: int) -> tuple[int, str | None]:
    """Length of the item at `at`, and the character that it stands for when it stands for just one."""
    character = pattern[at]
    if character == "\\":
        escaped = pattern[at + 1 : at + 2]
        return 2, escaped if escaped and not escaped.isalnum() else None
    if character in _PAIRS:
        return _group_length(pattern, at), None
    if character in ".^$?*+":
        return 1, None
    return 1, character


def _group_length(pattern: str, at: int) -> int:
    """Length of the group, class or count that begins at `at`."""
    if pattern[at] == "[":
        match = re.compile(r"\[\^?\]?(?:[^\]\\]|\\.)*\]", re.DOTALL).match(pattern, at)
        return len(match[0]) if match else len(pattern) - at
    depth = 0
    end = at
    while end < len(pattern):
        if pattern[end] == "\\":
            end += 2
            continue
        if pattern[end] == "[":
            end += _group_length(pattern, end)
            continue
        depth += (pattern[end] == pattern[at]) - (pattern[end] == _PAIRS[pattern[at]])
        end += 1
        if depth == 0:
            break
    return min(end, len(pattern)) - at
