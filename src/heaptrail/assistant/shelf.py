"""Reports for an assistant's questions: made from the files that it names, and kept for the next question."""

from __future__ import annotations

import re
from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING, Final

import msgspec

from heaptrail.errors import UsageError
from heaptrail.interpret import Interpretation, report_on
from heaptrail.reading import ReadOptions
from heaptrail.suppressions import load_suppressions, mark_suppressed

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date
    from pathlib import Path

    from heaptrail.assistant.folders import Folders
    from heaptrail.clock import Clock
    from heaptrail.model.report import Report
    from heaptrail.reading import Progress

_KEPT: Final = 8
_FILES_AT_MOST: Final = 500
_SECONDS_AT_MOST: Final = 60.0
"""For one reading. An assistant that waits longer gives up anyway, and a bomb in gzip has no other end."""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What an assistant names as one run: a saved report, or the logs and parts of a capture, and how to read them.

    Args:
        cycle_text: A text in the firmware's own line that ends a cycle. Plain text and no pattern, as a pattern may
            take for ever.
    """

    paths: tuple[str, ...]
    elf: str | None = None
    dialect: str = "auto"
    cycle_text: str | None = None
    suppressions: str | None = None


class Shelf:
    """Makes reports of runs in the folders, and keeps the last few. Used by several threads.

    Args:
        folders: What may be read.
        clock: Measures how long a reading takes.
        today: The day on which lists of known leaks are read.
    """

    def __init__(self, folders: Folders, *, clock: Clock, today: Callable[[], date]) -> None:
        self._folders = folders
        self._clock = clock
        self._today = today
        self._kept: OrderedDict[object, Report] = OrderedDict()
        self._lock = Lock()

    def report(self, run: Run) -> Report:
        """The report on a run.

        Raises:
            UsageError: A file is not in the folders or cannot be read, or reading takes too long.
            FormatError, EvidenceError: A file is not what it should be, or the ELF does not belong to the run.
        """
        if not 0 < len(run.paths) <= _FILES_AT_MOST:
            raise UsageError(
                f"{len(run.paths):,} files are named as one run", try_this=f"1 to {_FILES_AT_MOST} paths of one run"
            )
        paths = [self._folders.file(path) for path in run.paths]
        elf = self._folders.file(run.elf) if run.elf else None
        known = self._folders.file(run.suppressions) if run.suppressions else None
        files = [*paths, *(path for path in (elf, known) if path is not None)]
        key = (run, self._today(), tuple(_state(path) for path in files))
        with self._lock:  # one reading at a time: each may need much memory
            found = self._kept.get(key)
            if found is None:
                found = self._kept[key] = self._made(run, paths, elf, known)
                while len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
        return found

    def _made(self, run: Run, paths: list[Path], elf: Path | None, known: Path | None) -> Report:
        reading = ReadOptions(
            dialect=run.dialect, cycle_mark=re.escape(run.cycle_text) if run.cycle_text is not None else None
        )
        # The ELF names source files anywhere on the machine: their lines are none of the assistant's business.
        interpretation = Interpretation(elf=elf, excerpts=False)
        report = report_on(paths, reading, interpretation, progress=self._deadline())
        if known is None:
            return report
        return mark_suppressed(report, load_suppressions(known), today=self._today(), tolerate_bytes_per_cycle=None)

    def _deadline(self) -> Progress:
        end = self._clock.monotonic() + _SECONDS_AT_MOST

        def check(done_bytes: int, _: int | None) -> None:
            if self._clock.monotonic() > end:
                raise UsageError(
                    f"reading took longer than {_SECONDS_AT_MOST:.0f} s and was given up after {done_bytes:,} bytes",
                    try_this="`heaptrail read LOG --output report.json` in a terminal, and the report in its place",
                )

        return check


def _state(path: Path) -> tuple[str, int, int]:
    facts = path.stat()
    return (str(path), facts.st_size, facts.st_mtime_ns)
