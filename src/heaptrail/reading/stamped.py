"""Many lines at once without their time stamps, so that a dialect can read a long listing in one go.

A recorder writes one form of stamp, of one width, on every line; whatever is not exactly so is left to be read line by
line.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from heaptrail.reading.stamps import host_width

_LONGEST_STAMP = 64
_DIGIT = re.compile(rb"\d")


class Unstamped(NamedTuple):
    """Whole lines without their stamps.

    Args:
        text: The lines.
        stamps: The stamp of each, in rising order.
        width: How long each stamp is.
    """

    text: bytes
    stamps: list[bytes]
    width: int

    def end(self, start: int, run_end: int, lines: int) -> int:
        """Where in the log `run_end` lies, a place in the text behind so many lines; the text began at `start`."""
        return start + run_end + lines * self.width


def unstamped(data: bytes, start: int, stop: int) -> Unstamped | None:
    """The lines from `start` on, up to the last line end before `stop`, that carry a stamp of the first line's form.

    None where that one has none, or where time goes back, which must be told.
    """
    head = data[start : min(start + _LONGEST_STAMP, stop)]
    width = host_width(head.split(b"\n", 1)[0].decode("ascii", "replace"))
    if width == 0:
        return None
    form = _form(_DIGIT.sub(b"0", head[:width]))
    lines = form.lines.match(data, start, stop)
    if lines is None:
        return None
    stamps = form.stamp.findall(lines[0])
    if stamps != sorted(stamps):
        return None
    return Unstamped(form.stamp.sub(b"", lines[0]), stamps, width)


class _Form(NamedTuple):
    stamp: re.Pattern[bytes]
    lines: re.Pattern[bytes]


@lru_cache(16)
def _form(zeros: bytes) -> _Form:
    pattern = re.escape(zeros).replace(b"0", rb"\d")
    return _Form(re.compile(rb"(?m)^" + pattern), re.compile(rb"(?:" + pattern + rb"[^\n]*+\n)++"))
