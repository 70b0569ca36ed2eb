"""Progress on standard error, and only where a person watches: never in a log, never on standard output."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from heaptrail.procedures.hunt import HuntProgress
    from heaptrail.procedures.soak import SoakProgress
    from heaptrail.reading import Progress

_BAR_FROM_BYTES = 20_000_000
"""A log below this is read in a blink; a bar would only flicker."""


@contextmanager
def reading_progress() -> Iterator[Progress | None]:
    """A bar for long readings, as a callback of bytes done and bytes in all (None where unknown)."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    task = bar.add_task("reading", total=None)
    started = False

    def advance(done_bytes: int, total_bytes: int | None) -> None:
        nonlocal started
        if not started and (total_bytes or done_bytes) >= _BAR_FROM_BYTES:
            started = True
            bar.start()
        bar.update(task, completed=done_bytes, total=total_bytes)

    try:
        yield advance
    finally:
        bar.stop()


@contextmanager
def hunt_progress() -> Iterator[Callable[[HuntProgress], None] | None]:
    """One line that says what happens on the device now, how far it is, and the latest free heap."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    bar = Progress(
        TextColumn("{task.fields[phase]:<8}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[free]}"),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    task = bar.add_task("", total=None, phase="", free="")

    def tell(step: HuntProgress) -> None:
        free = "" if step.free_bytes is None else f"free {step.free_bytes:,} B"
        bar.update(
            task, description=step.text, completed=step.done, total=step.total or None, phase=step.phase, free=free
        )

    with bar:
        yield tell


@contextmanager
def soak_progress() -> Iterator[Callable[[SoakProgress], None] | None]:
    """One line: what happens, cycles out of those that the claim will need, the latest free heap, and the time."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    bar = Progress(
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("cycles"),
        TextColumn("{task.fields[free]}"),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    task = bar.add_task("", total=None, free="")

    def tell(step: SoakProgress) -> None:
        free = "" if step.free_bytes is None else f"free {step.free_bytes:,} B"
        bar.update(task, description=step.text, completed=step.done, total=step.total, free=free)

    with bar:
        yield tell
