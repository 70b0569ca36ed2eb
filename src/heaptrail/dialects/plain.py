"""Home-made lines: what the user says they mean. Shared by the dialects `csv` and `regex`.

No system prints these, so nothing is guessed: the user names the fields, and a line that does not fit is left alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from heaptrail.dialects.text import place
from heaptrail.errors import UsageError
from heaptrail.model.observations import HeapSample

if TYPE_CHECKING:
    from collections.abc import Iterable

    from heaptrail.dialects import Line

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

    def sample(self, texts: dict[str, str | None], line: Line, dialect: str) -> HeapSample | None:
        """The sample; None where a text is no number. A text that is None or empty is a figure not printed."""
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
                return None
            if field in _SECONDS:
                where["t_s"] = number * _SECONDS[field]
            elif number != int(number):
                return None
            else:
                figures[field] = int(number)
        if _SIZES.isdisjoint(figures):
            return None
        return msgspec.convert({"kind": "heap_sample", "heap": heap, **figures, **where}, HeapSample)


def _number(text: str) -> float | None:
    try:
        value: float = int(text, 16) if text[:2] in {"0x", "0X"} else float(text)
    except (ValueError, OverflowError):
        return None
    return value if abs(value) < 2**53 else None  # neither infinite nor beyond what stays exact
