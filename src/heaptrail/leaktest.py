"""A hunt inside a test: on any console that a test suite has, judged against a limit.

A console may be a target as in a workload file (`exec:./prog`, `/dev/ttyUSB0`), or an object that the test owns and
that stays open: pytest-embedded's `dut`, a labgrid console driver, a pyserial port, or anything with `read` and
`write`.
"""

from __future__ import annotations

import inspect
import re
import shutil
import time
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn, cast

import msgspec
import pytest

from heaptrail.capture import CaptureWriter
from heaptrail.cli.device import header_and_commands, interpretation_of, overridden
from heaptrail.cli.output import load_known, with_known
from heaptrail.clock import SystemClock
from heaptrail.errors import HeaptrailError, TargetError, UsageError
from heaptrail.interpret import interpret
from heaptrail.procedures.claim import parse_claim
from heaptrail.procedures.hunt import hunt
from heaptrail.procedures.target import transport_for
from heaptrail.procedures.workload import load_workload
from heaptrail.reading import ReadOptions
from heaptrail.reports.html import HtmlRenderer
from heaptrail.reports.jsonfile import JsonRenderer
from heaptrail.reports.terminal import TerminalRenderer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from heaptrail.model.report import Report
    from heaptrail.procedures.workload import Workload
    from heaptrail.transports import Transport

_READ_BYTES: Final = 64 * 1024
_POLL_S: Final = 0.01
"""Between two looks at a console that cannot wait."""


class Limit:
    """The terms of `@pytest.mark.limit_leaks`.

    Args:
        below: What must be undercut, such as `10 B/cycle` or `1 KB/cycle`; None takes the workload file's tolerance.
        cycles: Rounds that are measured; None takes the workload file's.
        inconclusive: What a run is that shows neither: `fail`, or `skip` for rigs whose runs are short.

    Raises:
        UsageError: `below` is no loss per cycle, or another argument is none of these.
    """

    def __init__(
        self, below: str | None = None, cycles: int | None = None, inconclusive: Literal["fail", "skip"] = "fail"
    ) -> None:
        if inconclusive not in ("fail", "skip"):
            raise UsageError(f"limit_leaks: inconclusive={inconclusive!r} is unknown", try_this="`fail` or `skip`")
        self.below = below
        self.cycles = cycles
        self.inconclusive = inconclusive

    def imposed_on(self, workload: Workload) -> Workload:
        """The workload with these terms in place of its own."""
        if self.cycles is not None:
            plan = msgspec.structs.replace(workload.workload, measured_cycles=self.cycles)
            workload = msgspec.structs.replace(workload, workload=plan)
        if self.below is None:
            return workload
        try:
            claim = parse_claim(self.below, workload.judge_settings())
        except UsageError:
            claim = None
        if claim is None or claim.unit != "cycle":
            raise UsageError(
                f"limit_leaks: below={self.below!r} is no loss per cycle", try_this='below="10 B/cycle" or "1 KB/cycle"'
            )
        judge = msgspec.structs.replace(workload.judge, tolerate_bytes_per_cycle=claim.bytes_per_unit)
        return msgspec.structs.replace(workload, judge=judge)


class LeakHunt:
    """The fixture `leak_hunt`: call it, and it hunts. `reports` holds what the hunts of this test said.

    Args:
        name: Of the test; files are named after it.
        root: Folder that relative paths refer to, that of the test's file.
        work: Folder for captures.
        left: Folder where the HTML, JSON and capture of a failed hunt are left.
        limit: Of the test's marker; None judges nothing.
    """

    def __init__(self, *, name: str, root: Path, work: Path, left: Path, limit: Limit | None) -> None:
        self.reports: list[Report] = []
        self._stem = re.sub(r"[^\w.-]+", "_", name)[:100]
        self._root = root
        self._work = work
        self._left = left
        self._limit = limit

    def __call__(
        self,
        workload: str | Path = "heaptrail.toml",
        *,
        console: object = None,
        elf: str | Path | None = None,
        suppressions: Sequence[str | Path] = (),
    ) -> Report:
        """Hunt once, and fail the test when its limit is not shown to be kept.

        Args:
            workload: The workload file, relative to the test's.
            console: In place of the workload file's: a target, or an object that the test owns.
            elf: In place of the workload file's.
            suppressions: Lists of known leaks.

        Returns:
            The report, the same as `heaptrail read` makes of the capture.
        """
        number = len(self.reports) + 1
        capture = self._work / f"{self._stem}{'' if number == 1 else f'-{number}'}.cast"
        try:
            report = self._hunt(self._root / workload, console, elf, suppressions, capture)
        except HeaptrailError as error:
            pytest.fail(f"heaptrail: {error.sentence}\ntry: {error.try_this}", pytrace=False)
        self.reports.append(report)
        if self._limit is not None and report.verdict != "no_leak" and not report.all_suppressed:
            self._fail(report, capture, self._limit)
        return report

    def _hunt(
        self,
        workload_file: Path,
        console: object,
        elf: str | Path | None,
        suppressions: Sequence[str | Path],
        capture: Path,
    ) -> Report:
        target = console if isinstance(console, str) else None
        workload = overridden(load_workload(workload_file), target, self._root / elf if elf is not None else None)
        if self._limit is not None:
            workload = self._limit.imposed_on(workload)
        known = load_known([self._root / path for path in suppressions])
        interpretation = interpretation_of(workload, allow_mismatch=False)
        header, commands = header_and_commands(workload, interpretation)
        if console is None or isinstance(console, str):
            transport = transport_for(workload)
        else:
            # Made of an object and not of a target, so it has no `from_target`, which nobody calls here.
            transport = cast("Transport", ConsoleObject(console))
        clock = SystemClock()
        outcome = hunt(workload, commands, transport, CaptureWriter(capture, header, clock), clock=clock)
        if outcome.error is not None:
            raise outcome.error
        if outcome.interrupted:
            raise KeyboardInterrupt
        report = interpret([capture], ReadOptions(), interpretation)
        return with_known(report, known, workload.judge.tolerate_bytes_per_cycle)

    def _fail(self, report: Report, capture: Path, limit: Limit) -> NoReturn:
        """Leave the files, and fail (or skip) with the report as text."""
        self._left.mkdir(parents=True, exist_ok=True)
        page = self._left / f"{capture.stem}.heaptrail.html"
        page.write_bytes(HtmlRenderer().render(report))
        page.with_suffix(".json").write_bytes(JsonRenderer().render(report))
        if capture.parent != self._left:
            shutil.copyfile(capture, page.with_suffix(".cast"))
        if report.verdict == "inconclusive" and limit.inconclusive == "skip":
            pytest.skip(f"{report.headline} ({page})")
        below = f"a loss below {limit.below} was not shown\n\n" if limit.below else ""
        pytest.fail(f"{below}{TerminalRenderer().render(report).decode()}\nthe page: {page}", pytrace=False)


class ConsoleObject:
    """A console object of the test as a transport; it is never opened or closed here, since the test owns it."""

    def __init__(self, console: Any) -> None:  # noqa: ANN401 - four kinds of object without a common type
        self._console = console
        self._read = _reader_of(console)

    def open(self) -> None:
        """Nothing: the object is open."""

    def close(self) -> None:
        """Nothing: the test closes it."""

    def read(self, timeout_s: float) -> bytes:
        """What arrived within `timeout_s`. Raises `TargetError` with what the object raised."""
        deadline = time.monotonic() + timeout_s
        while True:
            left = max(deadline - time.monotonic(), 0.0)
            try:
                data = self._read(left)
            except Exception as error:
                if type(error).__name__ != "TIMEOUT":  # pexpect's, by which labgrid and pytest-embedded say: nothing
                    raise self._gone(error) from error
                data = b""
            if data or left <= 0:
                return bytes(data)
            time.sleep(min(_POLL_S, left))

    def write(self, data: bytes) -> None:
        """Send all of `data`. Raises `TargetError` with what the object raised."""
        try:
            self._console.write(data)
        except Exception as error:
            raise self._gone(error) from error

    def _gone(self, error: Exception) -> TargetError:
        return TargetError(
            f"the test's console {type(self._console).__name__} raised {type(error).__name__}: {error}",
            try_this="whether the device is still there, and whether the test closed its console",
        )


def _reader_of(console: Any) -> Callable[[float], bytes]:  # noqa: ANN401 - see ConsoleObject
    """How this kind of console is read for at most some seconds.

    Raises:
        UsageError: It has no `write`, or nothing to read from.
    """
    if not callable(getattr(console, "write", None)):
        raise UsageError(
            f"console={type(console).__name__} has no write()",
            try_this="pytest-embedded's dut, a labgrid console driver, a pyserial port, or a target like exec:./prog",
        )
    process = getattr(console, "pexpect_proc", None)  # pytest-embedded's Dut
    if process is not None:
        return lambda timeout_s: process.read_nonblocking(size=_READ_BYTES, timeout=timeout_s)
    read = getattr(console, "read", None)
    if not callable(read):
        raise UsageError(f"console={type(console).__name__} has no read()", try_this="an object with read and write")
    if hasattr(console, "in_waiting"):  # pyserial
        return lambda timeout_s: _read_port(console, timeout_s)
    if "timeout" in inspect.signature(read).parameters:  # labgrid's ConsoleProtocol
        return lambda timeout_s: _read_driver(read, timeout_s)
    return lambda _: read(_READ_BYTES)


def _read_port(port: Any, timeout_s: float) -> bytes:  # noqa: ANN401 - see ConsoleObject
    """A pyserial port; its own timeout is left as the test had set it."""
    before = port.timeout
    port.timeout = timeout_s
    try:
        data: bytes = port.read(max(1, port.in_waiting))
    finally:
        port.timeout = before
    return data


def _read_driver(read: Callable[..., bytes], timeout_s: float) -> bytes:
    """A labgrid driver: one byte at least, then what else is there; a driver that finds nothing raises TIMEOUT."""
    data = read(size=1, timeout=timeout_s)
    if data:
        try:
            data += read(size=_READ_BYTES, timeout=0.0) or b""
        except Exception as error:
            if type(error).__name__ != "TIMEOUT":
                raise
    return data or b""
