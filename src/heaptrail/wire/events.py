"""Events frames to columns: every frame of a stretch at once, no step for each event.

Controls tell widths, a running sum of widths tells where each value stands, and running sums of differences, started
anew at each frame's head, give numbers, times and addresses in full.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from heaptrail.model.stream import Events, Kind
from heaptrail.wire.format import EVENTS, HEAD_BYTES, SHIFTS, TABLES, WIDE_BASE, WIDE_HEAD_BYTES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from heaptrail.model.stream import Ints
    from heaptrail.wire.frames import Frames

_SHIFT_OF = np.array(SHIFTS, dtype=np.int64)


class Heads(NamedTuple):
    """The heads of events frames, one entry a frame; `at` is the frame's place in `Frames`."""

    at: Ints
    body: Ints
    end: Ints
    events: Ints
    event: Ints
    birth: Ints
    time: Ints
    base: Ints
    shift: Ints


def words_of(plain: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Four bytes, least first, at every position. Reads what `plain` holds; copies nothing."""
    return np.ndarray((len(plain) - 3,), dtype="<u4", buffer=plain.data, strides=(1,))


def heads_of(frames: Frames) -> tuple[Heads, int]:
    """The events frames whose head and body agree, and how many did not."""
    at = np.flatnonzero(frames.kind >= EVENTS)
    start, end, kind = frames.start[at], frames.end[at], frames.kind[at]
    wide = (kind & WIDE_BASE) != 0
    body = start + np.where(wide, WIDE_HEAD_BYTES, HEAD_BYTES)
    whole = body <= end
    at, start, end, kind, body = at[whole], start[whole], end[whole], kind[whole], body[whole]
    wide = (kind & WIDE_BASE) != 0
    words = words_of(frames.plain)
    base = words[start + 14].astype(np.int64)
    base[wide] |= words[start[wide] + 18].astype(np.int64) << 32
    heads = Heads(
        at=at,
        body=body,
        end=end,
        events=frames.plain[start + 1].astype(np.int64),
        event=words[start + 2].astype(np.int64),
        birth=words[start + 6].astype(np.int64),
        time=words[start + 10].astype(np.int64),
        base=base,
        shift=_SHIFT_OF[kind & 3],
    )
    sound = _sound(frames.plain, heads)
    return Heads(*(column[sound] for column in heads)), int((~whole).sum() + (~sound).sum())


def _sound(plain: NDArray[np.uint8], heads: Heads) -> NDArray[np.bool_]:
    """Whether a frame's controls are all defined and ask for just as many values as there are."""
    sound = (heads.events > 0) & (heads.body + heads.events <= heads.end)
    checked = np.flatnonzero(sound)
    if len(checked) == 0:
        return sound
    count = heads.events[checked]
    controls = plain[_positions(heads.body[checked], count)]
    first = np.cumsum(count) - count
    asked = np.add.reduceat(TABLES.length[controls], first)
    defined = np.logical_and.reduceat(TABLES.kind[controls] != 255, first)
    sound[checked] = defined & (asked == (heads.end - heads.body)[checked] - count)
    return sound


def _positions(start: Ints, count: Ints) -> Ints:
    """`start[i], start[i] + 1, ...`, `count[i]` of them, for each i."""
    first = np.cumsum(count) - count
    positions: Ints = np.arange(int(count.sum())) + np.repeat(start - first, count)
    return positions


class Columns(NamedTuple):
    """Events of one stretch, with what only definitions can tell still open (`usual_*`)."""

    events: Events
    usual_size: NDArray[np.bool_]
    usual_task: NDArray[np.bool_]


def columns_of(plain: NDArray[np.uint8], heads: Heads, run: Ints, birth: Ints, time: Ints) -> Columns:
    """Decode the frames of `heads`.

    Args:
        plain: What they were found in.
        heads: Sound frames, at least one.
        run: For each frame its run.
        birth: For each frame the number before its first allocation's, unwrapped.
        time: For each frame the time at its start, unwrapped.
    """
    count = heads.events
    first = np.cumsum(count) - count
    controls = plain[_positions(heads.body, count)]
    kind = TABLES.kind[controls]
    ends = np.cumsum(TABLES.length[controls])
    before = np.concatenate((np.zeros(1, dtype=np.int64), ends[first[1:] - 1]))
    # Values fill a frame's body from its end, the first event's last: so each begins this far from the end.
    start = np.repeat(heads.end + before, count) - ends
    words = words_of(plain)

    def value(field: int, dtype: type[np.signedinteger | np.unsignedinteger]) -> NDArray[Any]:
        """A field of all events. Most shapes leave most fields out, so only those that have it are looked at."""
        found = np.zeros(len(controls), dtype=dtype)
        has = np.flatnonzero(TABLES.mask[field].astype(bool)[controls])
        which = controls[has]
        found[has] = words[start[has] + TABLES.offset[field][which]] & TABLES.mask[field][which]
        return found

    unshift = TABLES.unshift[controls]
    steps = (value(5, np.uint32) << unshift).view(np.int32) >> unshift
    return Columns(
        Events(
            kind=kind,
            run=np.repeat(run.astype(np.int32), count),
            time=_running(value(0, np.int64), time, count, first),
            birth=_running((kind == Kind.ALLOC).astype(np.int64), birth, count, first),
            age=value(4, np.uint32),
            address=_running(steps.astype(np.int64) << np.repeat(heads.shift, count), heads.base, count, first).view(
                np.uint64
            ),
            size=value(3, np.int64),
            stack=value(1, np.uint16),
            task=value(2, np.int16),
        ),
        TABLES.usual_size[controls],
        TABLES.usual_task[controls],
    )


def _running(steps: Ints, base: Ints, count: Ints, first: Ints) -> Ints:
    """Sums that begin at `base[i]` with frame i. Wraps as 64-bit numbers do; damaged input raises nothing."""
    sums = np.cumsum(steps)
    before = sums[first] - steps[first]
    running: Ints = sums + np.repeat(base - before, count)
    return running


def join_columns(parts: list[Columns]) -> Columns:
    """All parts as one; no part gives no events."""
    if len(parts) == 1:
        return parts[0]
    types = (np.uint8, np.int32, np.int64, np.int64, np.uint32, np.uint64, np.int64, np.uint16, np.int16)
    names = ("kind", "run", "time", "birth", "age", "address", "size", "stack", "task")
    joined = {
        name: np.concatenate([np.zeros(0, dtype=kind), *(getattr(part.events, name) for part in parts)])
        for name, kind in zip(names, types, strict=True)
    }
    nothing = np.zeros(0, dtype=bool)
    return Columns(
        Events(**joined),
        np.concatenate([nothing, *(part.usual_size for part in parts)]),
        np.concatenate([nothing, *(part.usual_task for part in parts)]),
    )
