"""What every match of a regular expression must hold: so that only lines with it need be tried."""

from __future__ import annotations

import re

_FEWEST_LITERAL = 3
"""A shorter literal is met so often that looking at every line costs no more."""


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
