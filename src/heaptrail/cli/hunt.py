"""`heaptrail hunt`: the case's procedure on a device, then what `read` says of the capture."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from heaptrail.cli import options

if TYPE_CHECKING:
    from collections.abc import Callable

    from heaptrail.capture import CaptureHeader
    from heaptrail.dialects import ConsoleCommands
    from heaptrail.interpret import Interpretation
    from heaptrail.procedures.hunt import HuntOutcome, HuntProgress
    from heaptrail.procedures.workload import Workload

INTERRUPTED = 130
COULD_NOT = 2


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
) -> None:
    """Run the workload on the device, trace it, and say whether it leaks, where, and whether that is all of it."""
    from heaptrail.cli.output import EXIT_STATUS, check_targets, write_report
    from heaptrail.cli.progress import hunt_progress
    from heaptrail.interpret import interpret
    from heaptrail.procedures.workload import load_workload
    from heaptrail.reading import ReadOptions

    workload = _overridden(load_workload(workload_file), console, elf)
    targets = check_targets(output_format, output or [Path("-"), *workload.output_paths])
    interpretation = _interpretation(workload, allow_mismatch=allow_mismatch)
    with hunt_progress() as progress:
        outcome = _drive(workload, capture, interpretation, progress)
    _tell(outcome, capture)
    if outcome.readings or outcome.dumps:
        report = interpret([capture], ReadOptions(), interpretation)
        write_report(report, targets)
        status = EXIT_STATUS[report.verdict]
    else:
        status = COULD_NOT
    if outcome.interrupted:
        status = INTERRUPTED
    elif outcome.error is not None:
        status = outcome.error.exit_status
    raise typer.Exit(status)


def _overridden(workload: Workload, console: str | None, elf: Path | None) -> Workload:
    """The workload with the command line's console (run in the workload file's folder) and ELF."""
    target = workload.target
    if console is not None:
        target = msgspec.structs.replace(target, console=console)
    if elf is not None:
        target = msgspec.structs.replace(target, elf=str(elf.absolute()))
    return msgspec.structs.replace(workload, target=target)


def _interpretation(workload: Workload, *, allow_mismatch: bool) -> Interpretation:
    from heaptrail.interpret import Interpretation

    return Interpretation(
        elf=workload.elf_path,
        source_map=tuple(f"{old}={workload.folder / new}" for old, new in workload.target.source_map.items()),
        wrappers=workload.target.wrappers,
        allow_mismatch=allow_mismatch,
    )


def _drive(
    workload: Workload,
    capture: Path,
    interpretation: Interpretation,
    progress: Callable[[HuntProgress], None] | None,
) -> HuntOutcome:
    """Hunt on the device; the ELF is looked at first, so that a wrong path costs no run."""
    from heaptrail.capture import CaptureWriter
    from heaptrail.clock import SystemClock
    from heaptrail.procedures.hunt import hunt
    from heaptrail.procedures.target import transport_for

    clock = SystemClock()
    header, commands = _header(workload, interpretation)
    transport = transport_for(workload)
    capture.parent.mkdir(parents=True, exist_ok=True)
    writer = CaptureWriter(capture, header, clock)
    return hunt(workload, commands, transport, writer, clock=clock, progress=progress)


def _header(workload: Workload, interpretation: Interpretation) -> tuple[CaptureHeader, ConsoleCommands]:
    from heaptrail.dialects import REGISTRY
    from heaptrail.errors import UsageError
    from heaptrail.procedures.target import capture_header
    from heaptrail.registry import resolve

    name = "tina" if workload.target.dialect == "auto" else workload.target.dialect
    dialect = resolve(REGISTRY, name, kind="dialect")
    build_id = None
    if interpretation.elf is not None:
        from heaptrail.symbols.lines import open_symbolizer

        build_id = open_symbolizer(interpretation.elf).image.build_id
    commands: ConsoleCommands | None = dialect.commands  # type: ignore[attr-defined]  # the registry's promise
    if commands is None:
        raise UsageError(
            f"the dialect {name} has no console commands to hunt with",
            try_this="record the console with any terminal program, and give the log to heaptrail read",
        )
    header = capture_header(workload, dialect=name, build_id=build_id, started_unix_s=time.time())
    return header, commands


def _tell(outcome: HuntOutcome, capture: Path) -> None:
    """What was not as planned, on standard error."""
    for note in outcome.notes:
        sys.stderr.write(f"note: {note}\n")
    sys.stderr.write(f"recorded {capture}\n")
    if outcome.error is not None:
        sys.stderr.write(f"heaptrail: {outcome.error.sentence}\ntry: {outcome.error.try_this}\n")
    elif outcome.interrupted:
        sys.stderr.write("heaptrail: interrupted; the report is on what was recorded until then\n")
