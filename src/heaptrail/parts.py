"""A capture in parts, for runs of days: one file is being written, the earlier ones are compressed.

`soak.cast` becomes `soak.0001.cast.gz`, `soak.0002.cast.gz`, … and, being written, `soak.0003.cast`. Each part is a
capture of its own, whose header names the run, the part and the seconds from the run's start to its own zero; together
they are one run (SPEC.md, "Capture in parts").

The part being written is plain, one event a write, so that a kill at any moment loses nothing. A part is compressed
beside the original, which is removed only when the compressed file is complete on the disk.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import re
import shutil
from typing import TYPE_CHECKING, Protocol

import msgspec

from heaptrail.capture import CaptureWriter
from heaptrail.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from heaptrail.capture import CaptureHeader, MarkWhat
    from heaptrail.clock import Clock

PART_BYTES = 16 << 20
"""About a hundred thousand console lines, which compress to a twentieth or less."""
PART_NAME = re.compile(r"\.(\d{4,})\.cast(\.gz)?$")
_COPY_BYTES = 1 << 20


def part_path(base: Path, number: int) -> Path:
    """Where part `number` of the capture `base` is written, uncompressed: `soak.0001.cast` for `soak.cast`."""
    return base.with_name(f"{base.name.removesuffix('.cast')}.{number:04d}.cast")


def parts_of(base: Path) -> dict[int, Path]:
    """The parts of the capture `base` that are on the disk, by number in order.

    Where a part is there twice, because its recorder was killed between compressing and removing it, the compressed one
    counts: it has its name only since it is complete.
    """
    stem = base.name.removesuffix(".cast")
    found: dict[int, Path] = {}
    if not base.parent.is_dir():
        return found
    for path in base.parent.iterdir():
        match = PART_NAME.search(path.name)
        if match is None or path.name[: match.start()] != stem:
            continue
        number = int(match[1])
        if number not in found or match[2]:
            found[number] = path
    return dict(sorted(found.items()))


def compress(path: Path) -> Path:
    """Compress a finished part and remove the original. When there is no room, the original stays as it is.

    Returns:
        Where the part is now.
    """
    target = path.with_name(f"{path.name}.gz")
    temporary = path.with_name(f"{path.name}.gz.tmp")
    try:
        with path.open("rb") as source, temporary.open("wb") as raw:
            with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed:
                shutil.copyfileobj(source, packed, _COPY_BYTES)
            raw.flush()
            os.fsync(raw.fileno())
        temporary.replace(target)
        path.unlink()
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        return path
    return target


def leftovers_of(base: Path) -> tuple[Path, ...]:
    """Finished parts that are still uncompressed, as a killed recorder leaves them."""
    return tuple(path for path in parts_of(base).values() if path.suffix != ".gz")


class Recorder(Protocol):
    """What takes down a console: one file (`CaptureWriter`), or parts (`PartedCapture`)."""

    def output(self, data: bytes) -> None:
        """What the device sent; called after every read, with nothing when the line was quiet."""
        ...

    def input(self, data: bytes) -> None:
        """What was sent to the device."""
        ...

    def mark(self, what: MarkWhat, label: str = "") -> None:
        """A moment: the end of a cycle, a reset, or a step of a procedure."""
        ...

    def close(self) -> None:
        """The end; never raises."""
        ...


class PartedCapture:
    """Records as `CaptureWriter` does, and begins a new part whenever one is large enough.

    Args:
        base: The capture's name, such as `soak.cast`; no file of exactly this name is written.
        header: As for one file; `run` is set, `part` and `offset_s` are filled in.
        clock: Its time at this moment is `offset_s`.
        first_part: Number of the first part that is written here; a run that is resumed goes on counting.
        offset_s: Seconds since the run's start.
        part_bytes: Size at which a part is closed.
        finished: Told each part that was closed, so that it can be compressed elsewhere than in the recording thread,
            which must not make the console wait.

    Raises:
        UsageError: A part of that name is there already.
        HeaptrailError: The file cannot be written (from here, and from every method that writes). What was written
            before stays valid.
    """

    def __init__(
        self,
        base: Path,
        header: CaptureHeader,
        clock: Clock,
        *,
        finished: Callable[[Path], object],
        first_part: int = 1,
        offset_s: float = 0.0,
        part_bytes: int = PART_BYTES,
    ) -> None:
        if any(number >= first_part for number in parts_of(base)):
            raise UsageError(
                f"{part_path(base, first_part).name} is there already, and what was recorded is never overwritten",
                try_this="--resume to go on with that run, another name with --capture, or remove the old files",
            )
        self._base = base
        self._header = header
        self._clock = clock
        self._zero_s = clock.monotonic() - offset_s
        self._finished = finished
        self._part_bytes = part_bytes
        self._number = first_part
        self._writer = self._part(resumed=header.resumed)

    @property
    def path(self) -> Path:
        """The part that is being written."""
        return self._writer.path

    def output(self, data: bytes) -> None:
        """What the device sent; see `CaptureWriter.output`."""
        self._writer.output(data)
        self._rotate_when_full()

    def input(self, data: bytes) -> None:
        """What was sent to the device."""
        self._writer.input(data)

    def mark(self, what: MarkWhat, label: str = "") -> None:
        """A moment; see `CaptureWriter.mark`."""
        self._writer.mark(what, label)
        self._rotate_when_full()

    def close(self) -> None:
        """Close the last part, which stays uncompressed."""
        self._writer.close()

    def _rotate_when_full(self) -> None:
        if self._writer.size_bytes < self._part_bytes:
            return
        following = self._part(
            resumed=None, number=self._number + 1
        )  # first, so that a full disk leaves one to write to
        self._number += 1
        done, self._writer = self._writer, following
        done.close()
        self._finished(done.path)

    def _part(self, *, resumed: bool | None, number: int | None = None) -> CaptureWriter:
        number = self._number if number is None else number
        offset_s = round(self._clock.monotonic() - self._zero_s, 6)
        header = msgspec.structs.replace(self._header, part=number, offset_s=offset_s, resumed=resumed)
        return CaptureWriter(part_path(self._base, number), header, self._clock)
