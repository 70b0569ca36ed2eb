"""A recording in parts, begun anew or gone on with by `--resume`: what `soak` and `watch` share of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from pathlib import Path

    from heaptrail.capture import CaptureHeader
    from heaptrail.clock import Clock
    from heaptrail.parts import PartedCapture


class Resumption(NamedTuple):
    """A run that is gone on with.

    Args:
        parts: What is recorded already, by number.
        header: Of the parts to come.
        offset_s: Seconds since the run's start, pauses included.
        used_s: Seconds of it that were spent recording.
    """

    parts: dict[int, Path]
    header: CaptureHeader
    offset_s: float
    used_s: float


def resumption_of(base: Path, fresh: CaptureHeader) -> Resumption | None:
    """The run that `base` holds already; None where there is none, so that a new one begins.

    Args:
        base: The capture's name, as for `heaptrail.parts.parts_of`.
        fresh: The head that a new run would have.

    Raises:
        UsageError: A file has the name of a part and is none.
    """
    from heaptrail.errors import UsageError
    from heaptrail.parts import parts_of
    from heaptrail.reading.runs import recorded_s

    parts = parts_of(base)
    if not parts:
        return None
    run, started_unix_s, used_s, last_s = recorded_s(list(parts.values()))
    if run is None:
        raise UsageError(
            f"{parts[min(parts)].name} is no part of a run",
            try_this="another name with --capture, or go on without --resume",
        )
    now_s = fresh.started_unix_s or 0.0
    offset_s = max(last_s, now_s - started_unix_s if started_unix_s else last_s)
    return Resumption(parts, msgspec.structs.replace(fresh, run=run, resumed=True), offset_s, used_s)


def recording(
    base: Path,
    fresh: CaptureHeader,
    clock: Clock,
    aside: Executor,
    *,
    resumption: Resumption | None,
    part_bytes: int | None = None,
) -> PartedCapture:
    """The recording, open. Finished parts are compressed on `aside`, those that a killed process left behind as well.

    Raises:
        UsageError: The name is taken and the run is not gone on with.
        HeaptrailError: The file cannot be written.
    """
    from heaptrail.parts import PART_BYTES, PartedCapture, compress, leftovers_of

    base.parent.mkdir(parents=True, exist_ok=True)
    leftovers = () if resumption is None else leftovers_of(base)
    writer = PartedCapture(
        base,
        fresh if resumption is None else resumption.header,
        clock,
        finished=lambda path: aside.submit(compress, path),
        first_part=1 if resumption is None else max(resumption.parts) + 1,
        offset_s=0.0 if resumption is None else resumption.offset_s,
        part_bytes=part_bytes or PART_BYTES,
    )
    for path in leftovers:
        aside.submit(compress, path)
    return writer
