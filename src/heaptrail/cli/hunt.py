"""`heaptrail hunt`: the case's procedure on a device, then what `read` says of the capture."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from heaptrail.cli import options
from heaptrail.errors import EXIT_COULD_NOT, EXIT_INTERRUPTED

if TYPE_CHECKING:
    from collections.abc import Callable

    from heaptrail.interpret import Interpretation
    from heaptrail.model.report import Report
    from heaptrail.procedures.hunt import HuntOutcome, HuntProgress
    from heaptrail.procedures.workload import Workload


_WORTH_SAYING_S = 5.0
"""A listing that takes longer is announced."""


def hunt_command(
    workload_file: Annotated[
        Path, typer.Argument(metavar="WORKLOAD", help="The workload file (`heaptrail init` writes one).")
    ] = Path("heaptrail.toml"),
    *,
    capture: Annotated[
        Path, typer.Option("--capture", help="Where to record the console; an older file is replaced.")
    ] = Path("hunt.cast"),
    console: Annotated[
        str | None, typer.Option("--console", help="Another console than the workload file's.", show_default=False)
    ] = None,
    elf: options.Elf = None,
    output_format: options.Format = None,
    output: options.Output = None,
    allow_mismatch: options.AllowMismatch = False,
    suppressions: options.Suppressions = None,
) -> None:
    """Run the workload on the device, trace it, and say whether it leaks, where, and whether that is all of it."""
    from heaptrail.cli.device import interpretation_of, overridden
    from heaptrail.cli.output import check_targets, exit_status, load_known, with_known, write_report
    from heaptrail.cli.progress import hunt_progress
    from heaptrail.interpret import interpret
    from heaptrail.procedures.workload import load_workload
    from heaptrail.reading import ReadOptions

    workload = overridden(load_workload(workload_file), console, elf)
    targets = check_targets(output_format, output or [Path("-"), *workload.output_paths])
    known = load_known(suppressions)
    interpretation = interpretation_of(workload, allow_mismatch=allow_mismatch)
    with hunt_progress() as progress:
        outcome, recorded = _drive(workload, capture, interpretation, progress)
    _tell(outcome, capture if recorded else None)
    if outcome.readings or outcome.dumps:
        report = interpret([capture], ReadOptions(), interpretation)
        if workload.target.gdb is not None and not outcome.interrupted:
            report = _confirmed(report, workload, capture, allow_mismatch=allow_mismatch)
        report = with_known(report, known, workload.judge.tolerate_bytes_per_cycle)
        write_report(report, targets)
        status = exit_status(report)
    else:
        status = EXIT_COULD_NOT
    if outcome.interrupted:
        status = EXIT_INTERRUPTED
    elif outcome.error is not None:
        status = outcome.error.exit_status
    raise typer.Exit(status)


def _drive(
    workload: Workload,
    capture: Path,
    interpretation: Interpretation,
    progress: Callable[[HuntProgress], None] | None,
) -> tuple[HuntOutcome, bool]:
    """Hunt on the device, and whether anything was recorded. The ELF is looked at first: a wrong path costs no run."""
    from heaptrail.capture import CaptureWriter
    from heaptrail.cli.device import header_and_commands
    from heaptrail.cli.output import say
    from heaptrail.clock import SystemClock
    from heaptrail.procedures.hunt import hunt
    from heaptrail.procedures.target import transport_for

    clock = SystemClock()
    header, commands = header_and_commands(workload, interpretation)
    transport = transport_for(workload)
    capture.parent.mkdir(parents=True, exist_ok=True)
    writer = CaptureWriter(capture, header, clock)

    def tell(step: HuntProgress) -> None:
        if step.takes_s is not None and step.takes_s >= _WORTH_SAYING_S:
            say(step.text)  # also where nobody watches a bar: a log should tell why it stands still
        if progress is not None:
            progress(step)

    return hunt(workload, commands, transport, writer, clock=clock, progress=tell), writer.begun


def _confirmed(report: Report, workload: Workload, capture: Path, *, allow_mismatch: bool) -> Report:
    """The findings confirmed by a RAM image, which is kept beside the capture."""
    from heaptrail.cli.output import say
    from heaptrail.clock import SystemClock
    from heaptrail.procedures.reachability import confirmed_on_target

    image = capture.with_suffix(".core")
    clock = SystemClock()
    confirmed = confirmed_on_target(report, workload, save=image, clock=clock, allow_mismatch=allow_mismatch)
    failed = next((problem.text for problem in confirmed.problems if problem.what == "gdb"), None)
    say(f"note: {failed}" if failed else f"recorded {image}")
    return confirmed


def _tell(outcome: HuntOutcome, capture: Path | None) -> None:
    """What was not as planned, on standard error."""
    from heaptrail.cli.output import say, say_error

    for note in outcome.notes:
        say(f"note: {note}")
    if capture is not None:
        say(f"recorded {capture}")
    if outcome.error is not None:
        say_error(outcome.error)
    elif outcome.interrupted:
        sys.stderr.write("heaptrail: interrupted; the report is on what was recorded until then\n")
