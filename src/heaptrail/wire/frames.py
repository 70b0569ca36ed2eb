"""Framing: from bytes of any chunking to whole, checked frames, in bulk.

A frame is `key, payload ^ key, checksum ^ key, 0`: the key is a value that the payload does not hold, so no byte of it
becomes zero, and every zero on the line ends a frame. After any damage the next zero is where reading goes on.
"""

from __future__ import annotations

from binascii import crc_hqx
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from heaptrail.wire.format import FRAME_BYTES, SHORTEST, VERSION

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TEXT = np.zeros(256, dtype=bool)
_TEXT[[*range(0x20, 0x7F), *b"\r\n\t\x1b"]] = True
_TORN_SHOWN_BYTES = 4 * FRAME_BYTES


class Frames(NamedTuple):
    """Checked frames of one stretch: `plain` holds them without their keys, four spare bytes behind the last.

    `start` and `end` bound each payload, its checksum left out; `kind` is the low half of its first byte.
    """

    plain: NDArray[np.uint8]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    kind: NDArray[np.uint8]

    def payload(self, at: int) -> bytes:
        """One frame's payload, its first byte included."""
        return self.plain[self.start[at] : self.end[at]].tobytes()


@dataclass(slots=True)
class FrameCounts:
    """What went by, good and bad."""

    bytes_read: int = 0
    frames: int = 0
    damaged: int = 0
    foreign_bytes: int = 0
    other_versions: int = 0


def split(stretch: bytes, counts: FrameCounts) -> Frames:
    """The frames of a stretch that ends with a zero; what is none is counted.

    Args:
        stretch: Whole frames and whatever else was on the line.
        counts: Added to.
    """
    raw = np.frombuffer(stretch, dtype=np.uint8)
    end = np.flatnonzero(raw == 0)
    start = np.concatenate((np.zeros(1, dtype=np.int64), end[:-1] + 1))
    plain = np.empty(len(raw) + 4, dtype=np.uint8)
    plain[len(raw) :] = 0
    np.bitwise_xor(raw, np.repeat(raw[start], end - start + 1), out=plain[: len(raw)])
    size = end - start
    fits = (size >= SHORTEST) & (size < FRAME_BYTES)
    keyed = np.flatnonzero(fits)
    view = memoryview(plain.data)
    first, last = start[keyed] + 1, end[keyed]
    # One call of the C library for each frame of some 40 events: cheaper than any checksum written in numpy.
    good = np.array(
        [crc_hqx(view[a:b], 0xFFFF) == 0 for a, b in zip(first.tolist(), last.tolist(), strict=True)], dtype=bool
    )
    current = np.zeros(len(good), dtype=bool)
    current[good] = plain[first[good]] >> 4 == VERSION
    fits[keyed[~good]] = False
    counts.frames += int(current.sum())
    counts.other_versions += int((good & ~current).sum())
    _count_bad(raw, start, end, (~fits) & (size > 0), counts)
    first, last = first[current], last[current] - 2
    return Frames(plain, first, last, plain[first] & np.uint8(0x0F))


def _count_bad(
    raw: NDArray[np.uint8],
    start: NDArray[np.int64],
    end: NDArray[np.int64],
    bad: NDArray[np.bool_],
    counts: FrameCounts,
) -> None:
    """Console text between two frames is no damage; anything else is."""
    for a, b in zip(start[bad].tolist(), end[bad].tolist(), strict=True):
        # A long stretch is judged by its beginning: it is no frame either way.
        if bool(_TEXT[raw[a : min(b, a + _TORN_SHOWN_BYTES)]].all()):
            counts.foreign_bytes += b - a
        else:
            counts.damaged += 1
