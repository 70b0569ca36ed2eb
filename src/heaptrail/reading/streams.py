"""Binary recordings in: the agent's event stream and SystemView's `.svdat` files, as a `Stream` or as observations."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import msgspec

from heaptrail.capture import looks_like_capture, read_capture
from heaptrail.errors import FormatError, UsageError
from heaptrail.limits import DEFAULT_LIMITS, Limits
from heaptrail.model.evidence import CaptureInfo
from heaptrail.reading.opening import open_input
from heaptrail.units import format_bytes
from heaptrail.wire import VERSION, Decoder
from heaptrail.wire.systemview import looks_like_recording, observations_of, read_recording, stream_of

if TYPE_CHECKING:
    import re
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from heaptrail.capture import CaptureHeader
    from heaptrail.model.observations import AnyObservation
    from heaptrail.model.stream import Stream
    from heaptrail.reading.opening import Opened
    from heaptrail.wire.systemview.recording import Recording

_PIECE_BYTES = 1 << 20


def is_recording(path: Path) -> bool:
    """Whether a file is a SystemView recording. False for what cannot be looked into twice, such as a pipe.

    Raises:
        UsageError, FormatError: As `open_input` does.
    """
    if str(path) != "-" and path.exists() and not stat.S_ISREG(path.stat().st_mode):
        return False
    with open_input(path) as opened:
        return looks_like_recording(opened.head)


def are_recordings(paths: Sequence[Path]) -> bool:
    """Whether these files are SystemView recordings, rather than logs.

    Raises:
        UsageError: Some are and some are not, or as `open_input` does.
        FormatError: As `open_input` does.
    """
    found = [path for path in paths if is_recording(path)]
    if found and len(found) < len(paths):
        other = next(path for path in paths if path not in found)
        raise UsageError(
            f"{found[0].name} is a SystemView recording and {other.name} is not",
            try_this="report on each by itself: one report is on recordings or on logs",
        )
    return bool(found)


def load_recording(paths: Sequence[Path], limits: Limits = DEFAULT_LIMITS) -> Recording:
    """The SystemView recording in these files, one for each core, core 0 first, or one for all.

    Raises:
        UsageError: A file cannot be read, or they are not of one recording.
        FormatError: A file is over the limit.
    """
    files = []
    for path in paths:
        with open_input(path) as opened:
            files.append((opened.name, _whole(opened, limits)))
    return read_recording(files, most_moments=limits.trace_events)


def _whole(opened: Opened, limits: Limits) -> bytes:
    data = opened.stream.read(limits.recording_bytes + 1)
    if len(data) > limits.recording_bytes:
        raise FormatError(
            f"{opened.name} is longer than the {format_bytes(limits.recording_bytes)} of a recording that are read",
            try_this="record a shorter time",
        )
    return data


def load_stream(
    paths: Sequence[Path], cycle_mark: re.Pattern[str] | None = None, limits: Limits = DEFAULT_LIMITS
) -> tuple[Stream, tuple[CaptureInfo, ...]]:
    """The stream of a recording of either kind, and the files that it came from.

    Args:
        paths: One file of the agent's (the bytes alone, or a capture with them), or SystemView's, one for each core.
        cycle_mark: What ends a cycle in a SystemView recording; the agent's stream carries its own marks.
        limits: Bounds on what the input may cost.

    Raises:
        UsageError: A file cannot be read, or they are not of one recording.
        FormatError: Nothing in a file is an event.
    """
    if are_recordings(paths):
        recording = load_recording(paths, limits)
        stream = stream_of(recording, cycle_mark, frames_per_block=limits.frames_per_block)
        sizes = dict(zip(recording.names, recording.sizes, strict=True))
        return stream, tuple(_info(name, size, "systemview") for name, size in sizes.items())
    if len(paths) > 1:
        raise UsageError(
            f"{paths[1].name} is a second file, and an event stream is one",
            try_this="one file of the agent's stream; only SystemView recordings come as one file for each core",
        )
    with open_input(paths[0]) as opened:
        decoder = Decoder()
        header = _decode(opened, decoder, limits)
        name = opened.name
    stream = decoder.stream()
    if stream.counts.frames == 0:
        raise FormatError(
            f"{name} holds no frame of an event stream (version {VERSION}) in {stream.counts.bytes_read:,} bytes",
            try_this="what `heaptrail trace --console` recorded, or the bytes that ht_stream_take gave, unchanged; "
            "`heaptrail read` is for console logs",
        )
    info = _info(name, stream.counts.bytes_read, "heaptrail", stream.build_id)
    if header is not None:
        build_id = stream.build_id or header.build_id
        info = msgspec.structs.replace(
            info, settings=header.judge, started_unix_s=header.started_unix_s, build_id=build_id
        )
    return stream, (info,)


def _decode(opened: Opened, decoder: Decoder, limits: Limits) -> CaptureHeader | None:
    """Feed it the bytes of a file, or those that the device sent into a capture, whose header is returned."""
    if not looks_like_capture(opened.head):
        while piece := opened.stream.read1(_PIECE_BYTES):
            decoder.feed(piece)
        return None
    header, events = read_capture(opened.stream, limits, name=opened.name)
    for event in events:
        if event.kind == "o":
            decoder.feed(event.data)
    return header


def _info(name: str, size: int, dialect: str, build_id: str | None = None) -> CaptureInfo:
    return CaptureInfo(name=name, format="stream", bytes_read=size, lines=0, dialects=(dialect,), build_id=build_id)


def observe_recording(path: Path, limits: Limits) -> Iterator[AnyObservation]:
    """What one SystemView file says, one observation at a time. Raises as `load_recording` does."""
    yield from observations_of(load_recording([path], limits), frames_per_block=limits.frames_per_block)
