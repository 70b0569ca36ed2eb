"""`heaptrail trace`: a report from a binary recording of every allocation and free, made now or before."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from heaptrail.cli import options
from heaptrail.errors import EXIT_INTERRUPTED, FormatError

if TYPE_CHECKING:
    from heaptrail.interpret import Interpretation
    from heaptrail.procedures.hunt import HuntOutcome
    from heaptrail.procedures.workload import Workload

Recorded = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[FILE...]",
        help="A recorded stream: a capture, the agent's bytes alone, or SystemView's .svdat files (one a core); "
        "- is standard input.",
        show_default=False,
    ),
]
Console = Annotated[
    str | None,
    typer.Option("--console", help="Record now, from this console (`heaptrail list transports`).", show_default=False),
]
WorkloadFile = Annotated[
    Path | None,
    typer.Option("--workload", metavar="FILE", help="Record now, and run this workload.", show_default=False),
]
Capture = Annotated[
    Path, typer.Option("--capture", help="Where to record the console with its stream; an older file is replaced.")
]
Longest = Annotated[
    str | None,
    typer.Option("--for", metavar="TIME", help="Record so long: 90s, 30m, 10h, 3d.", show_default="until Ctrl-C"),
]
Cycles = Annotated[
    int | None,
    typer.Option("--cycles", min=1, help="Record so many rounds of the workload.", show_default="no limit"),
]
Baud = Annotated[int, typer.Option("--baud", min=50, help="Speed of a serial port without a workload file.")]


def trace_command(
    recorded: Recorded = None,
    *,
    console: Console = None,
    workload_file: WorkloadFile = None,
    capture: Capture = Path("trace.cast"),
    longest: Longest = None,
    cycles: Cycles = None,
    baud: Baud = 115_200,
    elf: options.Elfs = None,
    debug_file: options.DebugFile = None,
    output_format: options.Format = None,
    output: options.Output = None,
    cycle_mark: options.CycleMark = None,
    warmup_cycles: options.Warmup = None,
    confidence: options.Confidence = None,
    largest_single_loss: options.LargestLoss = None,
    wrapper: options.Wrapper = None,
    source_map: options.SourceMap = None,
    allow_mismatch: options.AllowMismatch = False,
    suppressions: options.Suppressions = None,
) -> None:
    """Say from the history of every allocation and free what leaks, who allocates it, and who alone frees."""
    from heaptrail.cli.device import interpretation_of
    from heaptrail.cli.output import check_targets, exit_status, load_known, with_known, write_report
    from heaptrail.interpret import Interpretation, Terms, interpret_stream
    from heaptrail.reading import ReadOptions

    first_elf, more_elfs = options.elfs(elf)
    live = _workload(recorded, console, workload_file, first_elf, baud)
    targets = check_targets(output_format, output or [Path("-"), *(live.output_paths if live else ())])
    known = load_known(suppressions)
    interpretation = Interpretation(elf=first_elf, allow_mismatch=allow_mismatch)
    if live is not None:
        interpretation = interpretation_of(live, allow_mismatch=allow_mismatch)
    interpretation = msgspec.structs.replace(
        interpretation,
        more_elfs=more_elfs,
        debug_file=debug_file,
        source_map=(*interpretation.source_map, *(source_map or ())),
        wrappers=(*interpretation.wrappers, *(wrapper or ())),
        terms=Terms(warmup_cycles=warmup_cycles, confidence=confidence, largest_single_loss_bytes=largest_single_loss),
    )
    outcome = None
    if live is not None:
        longest_s = None if longest is None else options.seconds_of(longest)
        outcome = _record(live, capture, interpretation, cycles=cycles, longest_s=longest_s)
        _tell(outcome, capture)
    try:
        report = interpret_stream(recorded or [capture], ReadOptions(cycle_mark=cycle_mark), interpretation)
    except FormatError:
        if outcome is None or outcome.error is None:
            raise
        raise typer.Exit(outcome.error.exit_status) from None  # nothing came, and why was said already
    report = with_known(report, known)
    write_report(report, targets)
    status = exit_status(report)
    if outcome is not None and outcome.interrupted:
        status = EXIT_INTERRUPTED
    elif outcome is not None and outcome.error is not None:
        status = outcome.error.exit_status
    raise typer.Exit(status)


def _workload(
    recorded: list[Path] | None, console: str | None, file: Path | None, elf: Path | None, baud: int
) -> Workload | None:
    """What to run and record; None where a recording is given.

    Raises:
        UsageError: Both or neither are given, or the workload file is wrong.
    """
    from heaptrail.cli.device import overridden
    from heaptrail.errors import UsageError
    from heaptrail.procedures.workload import Plan, Target, Workload, load_workload

    if bool(recorded) == (console is not None or file is not None):
        found = f"{recorded[0]} and a console" if recorded else "neither a recorded stream nor a console"
        raise UsageError(
            f"trace was given {found}",
            try_this="heaptrail trace FILE for a recording, or --console (or --workload) to record one now",
        )
    if recorded:
        return None
    if file is not None:
        return overridden(load_workload(file), console, elf)
    plain = Workload(target=Target(console=console or "", baud=baud), workload=Plan(warmup_cycles=0), folder=Path())
    return overridden(plain, None, elf)


def _record(
    workload: Workload, capture: Path, interpretation: Interpretation, *, cycles: int | None, longest_s: float | None
) -> HuntOutcome:
    import time

    from heaptrail.capture import CaptureWriter
    from heaptrail.cli.progress import hunt_progress
    from heaptrail.clock import SystemClock
    from heaptrail.procedures.target import capture_header, transport_for
    from heaptrail.procedures.tracing import record_stream

    build_id = None
    if interpretation.elf is not None:
        from heaptrail.symbols.elf import open_image

        build_id = open_image(interpretation.elf).build_id
    clock = SystemClock()
    header = capture_header(workload, dialect="heaptrail", build_id=build_id, started_unix_s=time.time())
    transport = transport_for(workload)
    capture.parent.mkdir(parents=True, exist_ok=True)
    writer = CaptureWriter(capture, header, clock)
    with hunt_progress() as progress:
        return record_stream(
            workload, transport, writer, clock=clock, cycles=cycles, longest_s=longest_s, progress=progress
        )


def _tell(outcome: HuntOutcome, capture: Path) -> None:
    """What was not as planned, on standard error."""
    from heaptrail.cli.output import say, say_error

    for note in outcome.notes:
        say(f"note: {note}")
    say(f"recorded {capture}")
    if outcome.error is not None:
        say_error(outcome.error)
    elif outcome.interrupted:
        sys.stderr.write("heaptrail: interrupted; the report is on what was recorded until then\n")
