"""A capture played back as if it were a device: `replay:run.cast`, `replay:run.cast?times`, `replay:run.cast?lockstep`.

Without options the output comes as fast as it is read, and whatever is written is dropped. With `times` it comes when
it came. With `lockstep` output that followed an input waits until those bytes are written, and other bytes are refused:
so a procedure can be run again on what a device once said.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self

from heaptrail.capture import CaptureEvent, CaptureReader, read_capture
from heaptrail.clock import SystemClock
from heaptrail.errors import TargetError, UsageError

if TYPE_CHECKING:
    from typing import BinaryIO

    from heaptrail.clock import Clock

_OPTIONS = ("times", "lockstep")


class ReplayTransport:
    """A recorded console in place of a device.

    Args:
        path: The capture.
        times: Keep the recorded times.
        lockstep: Wait for the recorded inputs.
        clock: For `times`.
    """

    def __init__(self, path: Path, *, times: bool = False, lockstep: bool = False, clock: Clock | None = None) -> None:
        self._path = path
        self._times = times
        self._lockstep = lockstep
        self._clock = clock or SystemClock()
        self._zero_s = 0.0
        self._stream: BinaryIO | None = None
        self._events: CaptureReader | None = None
        self._next: CaptureEvent | None = None
        self._awaited = b""

    @classmethod
    def from_target(cls, target: str, *, baud: int, cwd: Path | None = None) -> Self:
        """From `replay:FILE` with `?times`, `?lockstep` or `?times,lockstep` behind it.

        Args:
            target: As above.
            baud: Means nothing here.
            cwd: Folder to which a relative path refers; None is the current one.

        Raises:
            UsageError: An option is unknown.
        """
        del baud
        name, _, options = target.removeprefix("replay:").partition("?")
        chosen = [option for option in options.split(",") if option]
        for option in chosen:
            if option not in _OPTIONS:
                raise UsageError(
                    f"{target}: replay has no option {option!r}", try_this=f"one of: {', '.join(_OPTIONS)}"
                )
        return cls((cwd or Path()) / name, times="times" in chosen, lockstep="lockstep" in chosen)

    def open(self) -> None:
        """Open the capture. Raises `TargetError` without the file, `FormatError` when it is no capture."""
        try:
            self._stream = self._path.open("rb")
        except OSError as error:
            raise TargetError(
                f"{self._path} cannot be opened: {error.strerror}", try_this="name a capture that heaptrail recorded"
            ) from error
        try:
            _, self._events = read_capture(self._stream, name=str(self._path))
        except BaseException:
            self.close()
            raise
        self._zero_s = self._clock.monotonic()
        self._advance()

    def read(self, timeout_s: float) -> bytes:
        """The next output; see `Transport.read`. Raises `TargetError` where the capture ends."""
        if self._awaited:
            self._clock.sleep(timeout_s)
            return b""
        event = self._next
        if event is None:
            raise TargetError(f"{self._path}: the capture ends here", try_this="record a longer one")
        if self._times:
            wait_s = self._zero_s + event.t_s - self._clock.monotonic()
            self._clock.sleep(max(0.0, min(wait_s, timeout_s)))
            if wait_s > timeout_s:
                return b""
        self._advance()
        return event.data

    def write(self, data: bytes) -> None:
        """Taken as the input that was recorded here, or dropped without `lockstep`."""
        if not self._lockstep:
            return
        if not self._awaited.startswith(data):
            raise TargetError(
                f"{self._path}: {data!r:.60} was sent where the capture has {self._awaited or b'no input'!r:.60}",
                try_this="replay it with the procedure and the workload that recorded it",
            )
        self._awaited = self._awaited[len(data) :]
        if not self._awaited:
            self._advance()

    def close(self) -> None:
        """Close the file."""
        if self._stream is not None:
            self._stream.close()
        self._stream = self._events = self._next = None

    def _advance(self) -> None:
        """Go to the next output, or with `lockstep` to the next input that must be written first."""
        self._next = None
        for event in self._events or ():
            if event.kind == "o":
                self._next = event
                return
            if event.kind == "i" and self._lockstep and event.text:
                self._awaited = event.data
                return
