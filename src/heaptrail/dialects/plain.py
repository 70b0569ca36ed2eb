"""Home-made lines: what the user says they mean. Shared by the dialects `csv` and `regex`.

No system prints these, so nothing is guessed: the user names the fields. What is a row or a match and holds no sample
is a problem; any other line is left alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from heaptrail.dialects.text import place, problem
from heaptrail.errors import UsageError
from heaptrail.model.observations import HeapSample

if TYPE_CHECKING:
    from collections.abc import Iterable

    from heaptrail.dialects import Line
    from heaptrail.model.observations import AnyObservation

_FIGURES = {
    "total": "total_bytes",
    "free": "free_bytes",
    "used": "used_bytes",
    "min_free": "min_free_bytes",
    "max_used": "max_used_bytes",
    "largest_free": "largest_free_bytes",
    "free_blocks": "free_blocks",
    "used_blocks": "used_blocks",
    "allocations": "allocations",
    "frees": "frees",
}
"""The user's word and the field of `HeapSample`, which may be named as well."""
_SECONDS = {"t_s": 1.0, "t_ms": 1e-3}
_SIZES = frozenset({"free_bytes", "used_bytes", "min_free_bytes"})
"""Without one of these there is no series to judge."""
LONGEST_TEXT = 1_000
"""Characters of a line that are tried: the user's own pattern may take time that grows with the square of them."""


class PlainForm(msgspec.Struct, frozen=True, kw_only=True):
    """What the user says of home-made lines.

    Args:
        pattern: Regular expression with named groups, None for none.
        columns: Names of a table's columns, in order; `-` is one that says nothing here. Empty for none.
    """

    pattern: str | None = None
    columns: tuple[str, ...] = ()


NO_FORM = PlainForm()
_MOST_COMPLAINTS = 20
"""So many lines are complained of one by one, the others with their number at the end."""


class Complaints:
    """What the user described and does not fit: said line by line at first, then counted."""

    def __init__(self, dialect: str) -> None:
        self._dialect = dialect
        self._count = 0
        self._last: Line | None = None

    def say(self, line: Line, text: str) -> list[AnyObservation]:
        """One more line that does not fit."""
        self._count += 1
        self._last = line
        if self._count > _MOST_COMPLAINTS:
            return []
        return [problem(place(line, self._dialect), "torn_record", f"{text}; it is left out")]

    def close(self) -> list[AnyObservation]:
        """How many more there were."""
        more, self._count = self._count - _MOST_COMPLAINTS, 0
        if more <= 0 or self._last is None:
            return []
        text = f"{more:,} more such lines are left out; this is the last of them"
        return [problem(place(self._last, self._dialect), "torn_record", text)]


class Fields:
    """Named texts in, a heap sample out.

    Args:
        names: As the user gave them.
        what: `group` or `column`, for the message.

    Raises:
        UsageError: A name is unknown or given twice, or no size of the heap is among them.
    """

    def __init__(self, names: Iterable[str], *, what: str) -> None:
        self._fields: dict[str, str] = {}
        for name in names:
            field = _FIGURES.get(name, name)
            if field in self._fields.values():
                raise UsageError(f"two {what}s are named {name}", try_this=f"name each {what} once; - is left out")
            if field not in {*_FIGURES.values(), *_SECONDS, "heap"}:
                known = ", ".join([*_FIGURES, *_SECONDS, "heap"])
                raise UsageError(f"no {what} can be named {name!r}", try_this=f"use names of these: {known}")
            self._fields[name] = field
        if _SIZES.isdisjoint(self._fields.values()):
            raise UsageError(
                f"no {what} is named free, used or min_free, so there is nothing to judge by",
                try_this="for a line such as `free: 12345`: --pattern 'free: (?P<free>\\d+)'",
            )

    def numbers(self, texts: dict[str, str | None]) -> int:
        """How many of the texts are the numbers that they should be."""
        named = ((texts.get(name) or "").strip() for name, field in self._fields.items() if field != "heap")
        return sum(_number(text) is not None for text in named)

    def sample(self, texts: dict[str, str | None], line: Line, dialect: str) -> HeapSample | str:
        """The sample, or what is wrong with the texts. A text that is None or empty is a figure not printed."""
        figures: dict[str, int] = {}
        where = place(line, dialect)
        heap = None
        for name, field in self._fields.items():
            text = (texts.get(name) or "").strip()
            if not text:
                continue
            if field == "heap":
                heap = text[:64]
                continue
            number = _number(text)
            if number is None or number < 0:
                return f"{name} is {text[:40]!r}, which is no size or time"
            if field in _SECONDS:
                where["t_s"] = number * _SECONDS[field]
            elif number != int(number):
                return f"{name} is {text[:40]!r}, which is no whole number of bytes"
            else:
                figures[field] = int(number)
        if _SIZES.isdisjoint(figures):
            return "no size is given"
        return msgspec.convert({"kind": "heap_sample", "heap": heap, **figures, **where}, HeapSample)


def _number(text: str) -> float | None:
    try:
        value: float = int(text, 16) if text[:2] in {"0x", "0X"} else float(text)
    except (ValueError, OverflowError):
        return None
    return value if abs(value) < 2**53 else None  # neither infinite nor beyond what stays exact
