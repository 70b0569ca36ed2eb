"""Patterns of names, as LeakSanitizer's suppressions have them.

A pattern is looked for anywhere in the name; `*` stands for anything, `^` and `$` hold it at the beginning and the end
(https://clang.llvm.org/docs/AddressSanitizer.html, "Suppressing memory leaks").
"""

from __future__ import annotations


def matches(pattern: str, name: str) -> bool:
    """Whether a LeakSanitizer pattern fits a name; in time linear in the name, whatever the pattern."""
    at_start = pattern.startswith("^")
    at_end = pattern.endswith("$") and len(pattern) > at_start
    first, *others = pattern[at_start : len(pattern) - at_end].split("*")
    if at_start and not name.startswith(first):
        return False
    if at_start and not others:
        return not at_end or name == first
    place = len(first) if at_start else _after(name, first, 0)
    if not others:
        return name.endswith(first) if at_end else place >= 0
    *middle, last = others
    for part in middle:
        place = _after(name, part, place)
    if place < 0:
        return False
    if at_end:
        return name.endswith(last) and len(name) - len(last) >= place
    return last in name[place:]


def _after(name: str, part: str, place: int) -> int:
    """Where the next occurrence of `part` ends, -1 where there is none."""
    found = name.find(part, place) if place >= 0 else -1
    return found + len(part) if found >= 0 else -1
