"""`heaptrail watch`: a live view of a console that somebody else drives."""

from __future__ import annotations

import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from heaptrail.cli import options

if TYPE_CHECKING:
    from collections.abc import Callable

    from heaptrail.cli.screen import WatchApp
    from heaptrail.model.report import Report
    from heaptrail.procedures.watch import Watch


SampleEvery = Annotated[
    float | None,
    typer.Option("--sample-every", metavar="SECONDS", min=0.1, help="Type the command that reads the heap."),
]


def watch_command(
    workload_file: Annotated[
        Path, typer.Argument(metavar="WORKLOAD", help="The workload file; only its console and marks are used.")
    ] = Path("heaptrail.toml"),
    *,
    capture: Annotated[
        Path, typer.Option("--capture", help="Name of the recording; its parts get numbers: watch.0001.cast, …")
    ] = Path("watch.cast"),
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the recording that is there (or begin, where there is none).")
    ] = False,
    sample_every: SampleEvery = None,
    console: Annotated[
        str | None, typer.Option("--console", help="Another console than the workload file's.", show_default=False)
    ] = None,
    elf: options.Elf = None,
    allow_mismatch: options.AllowMismatch = False,
    suppressions: options.Suppressions = None,
) -> None:
    """Show the heap of a device live, while somebody else, or nobody, drives it.

    Keys: a tracer on and off, l list live blocks, c a cycle ends, f read the heap, j judge now, q quit.
    """
    from heaptrail.cli.device import header_and_commands, interpretation_of, overridden
    from heaptrail.cli.output import load_known, with_known
    from heaptrail.cli.recording import recording, resumption_of
    from heaptrail.clock import SystemClock
    from heaptrail.dialects import ConsoleCommands
    from heaptrail.dialects.tina import Tina
    from heaptrail.interpret import interpret
    from heaptrail.parts import parts_of
    from heaptrail.procedures.target import transport_for
    from heaptrail.procedures.watch import Watch
    from heaptrail.procedures.workload import load_workload
    from heaptrail.reading import ReadOptions

    app = _screen()
    workload = overridden(load_workload(workload_file), console, elf)
    known = load_known(suppressions)
    interpretation = interpretation_of(workload, allow_mismatch=allow_mismatch)
    header, asked = header_and_commands(workload, interpretation)
    commands = asked or Tina.commands or ConsoleCommands()  # nothing is typed before a key is pressed, not even help

    def judge() -> Report:
        return with_known(interpret(list(parts_of(capture).values()), ReadOptions(), interpretation), known)

    with ThreadPoolExecutor(1, thread_name_prefix="heaptrail-look") as aside:
        header = msgspec.structs.replace(header, run=uuid.uuid4().hex)
        resumption = resumption_of(capture, header) if resume else None
        writer = recording(capture, header, SystemClock(), aside, resumption=resumption)
        watch = Watch(
            *(workload, header.dialect or "auto", commands, transport_for(workload), writer),
            clock=SystemClock(),
            look=lambda: aside.submit(judge),
            sample_every_s=sample_every,
        )
        try:
            if resumption is not None:
                watch.go_on_from(list(resumption.parts.values()), resumption.offset_s)
            watch.start()
            app(watch, workload.target.console).run()
        finally:
            watch.stop()
    sys.stderr.write(f"recorded {writer.path}\n")
    raise typer.Exit(_conclude(watch, judge))


def _conclude(watch: Watch, judge: Callable[[], Report]) -> int:
    """Say what is to be said when the screen is gone, and the exit status."""
    from heaptrail.cli.output import EXIT_STATUS, exit_status
    from heaptrail.reports.untrusted import plain_lines, printable

    glimpse = watch.glimpse()
    if glimpse.armed:
        sys.stderr.write("note: the tracer was left on; it goes off with a reset, or by the command typed by hand\n")
    if glimpse.failed is not None:
        raise glimpse.failed
    if not glimpse.readings:
        sys.stderr.write("no reading of the heap was seen\n")
        return EXIT_STATUS["inconclusive"]
    report = judge()
    sys.stdout.write(f"{plain_lines(printable(report.headline))}\n")
    return exit_status(report)


def _screen() -> type[WatchApp]:
    from heaptrail.errors import UsageError

    try:
        from heaptrail.cli.screen import WatchApp
    except ImportError as error:
        raise UsageError(
            f"the live view needs a package that is not installed ({error.name})",
            try_this='pip install "heaptrail[watch]"',
        ) from error
    return WatchApp
