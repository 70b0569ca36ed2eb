"""The stream's format, version 1, as tables: which values follow a control byte, and where (SPEC.md, "Wire").

`agent/src/ht_wire.c` writes it; the tests compile that file and compare.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from heaptrail.model.stream import Kind

if TYPE_CHECKING:
    from numpy.typing import NDArray

VERSION = 1  # HT_WIRE_VERSION in agent/include/ht_wire.h
FRAME_BYTES = 256
"""Of a whole frame, the closing zero included."""
SHORTEST = 4
"""Bytes of a frame without its zero: a key, one byte, a checksum of two."""

HELLO, STACKS, TASKS, EVENTS, WIDE_BASE = 0, 1, 2, 8, 4
SHIFTS = (0, 2, 3, 4)
CUT = 0x80
HEAD_BYTES, WIDE_HEAD_BYTES = 18, 22

FIELDS = ("time", "stack", "task", "size", "age", "address")
_SIZE_BYTES = (0, 1, 2, 4)
_WIDE: dict[int, tuple[Kind, tuple[int, int, int, int, int, int]]] = {
    0xE0: (Kind.TIME, (4, 0, 0, 0, 0, 0)),
    0xE1: (Kind.MARK, (0, 0, 1, 4, 0, 0)),
    0xE2: (Kind.FAILED, (0, 2, 1, 4, 0, 0)),
    0xE3: (Kind.FREE_AT, (0, 2, 1, 0, 0, 4)),
    0xE4: (Kind.REALLOC, (0, 2, 1, 4, 4, 4)),
    0xE5: (Kind.DOUBLE_FREE, (0, 2, 1, 0, 0, 4)),
}


class Shape(NamedTuple):
    """What a control byte says: the event's kind and the width of each of `FIELDS` in bytes. None: undefined."""

    kind: Kind
    widths: tuple[int, ...]


def shape_of(control: int) -> Shape | None:
    """The meaning of one control byte, from the bits that SPEC.md draws."""
    if control < 0x80:
        time, task, stack, size, address = (
            control >> shift & mask for shift, mask in ((6, 1), (5, 1), (4, 1), (2, 3), (0, 3))
        )
        return Shape(Kind.ALLOC, (time, stack + 1, task, _SIZE_BYTES[size], 0, address + 1))
    if control < 0xC0:
        time, task, stack, age = (control >> shift & mask for shift, mask in ((5, 1), (4, 1), (2, 3), (0, 3)))
        return Shape(Kind.FREE, (time, stack, task, 0, age + 1, 0)) if stack < 3 else None
    if control < 0xE0:
        time, stack, address = (control >> shift & mask for shift, mask in ((4, 1), (2, 3), (0, 3)))
        return Shape(Kind.FREE_AT, (time, stack, 0, 0, 0, address + 1)) if stack < 3 else None
    wide = _WIDE.get(control)
    return None if wide is None else Shape(*wide)


class Tables(NamedTuple):
    """The 256 shapes as arrays that control bytes index.

    Args:
        kind: 255 where undefined.
        length: Bytes of all values.
        offset, mask: For each field, where its value begins and the bits of a 32-bit load that belong to it.
        unshift: 32 less the bits of the address, for its sign.
        usual_size, usual_task: Whether the stack's definition has it.
    """

    kind: NDArray[np.uint8]
    length: NDArray[np.int64]
    offset: NDArray[np.int64]
    mask: NDArray[np.uint32]
    unshift: NDArray[np.uint8]
    usual_size: NDArray[np.bool_]
    usual_task: NDArray[np.bool_]


def _tables() -> Tables:
    shapes = [shape_of(control) for control in range(256)]
    none = Shape(Kind.TIME, (0,) * len(FIELDS))
    widths = np.array([(shape or none).widths for shape in shapes], dtype=np.int64)
    kind = np.array([255 if shape is None else shape.kind for shape in shapes], dtype=np.uint8)
    takes_task = np.isin(kind, (Kind.ALLOC, Kind.FREE, Kind.FREE_AT))
    return Tables(
        kind=kind,
        length=widths.sum(axis=1),
        offset=np.ascontiguousarray((widths.cumsum(axis=1) - widths).T),
        mask=np.ascontiguousarray(((np.int64(1) << (8 * widths)) - 1).astype(np.uint32).T),
        unshift=((32 - 8 * widths[:, 5]) % 32).astype(np.uint8),
        usual_size=(kind == Kind.ALLOC) & (widths[:, 3] == 0),
        usual_task=takes_task & (widths[:, 2] == 0),
    )


TABLES = _tables()
