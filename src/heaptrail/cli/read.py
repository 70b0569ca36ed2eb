"""`heaptrail read`: a report from any capture or plain log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from heaptrail.cli import options


def read_command(
    logs: Annotated[list[Path], typer.Argument(metavar="LOG...", help="Captures or plain logs; - is standard input.")],
    *,
    elf: options.Elfs = None,
    debug_file: options.DebugFile = None,
    output_format: options.Format = None,
    output: options.Output = None,
    dialect: options.Dialect = "auto",
    cycle_mark: options.CycleMark = None,
    boot_mark: options.BootMark = None,
    pattern: options.Pattern = None,
    columns: options.Columns = None,
    warmup_cycles: options.Warmup = None,
    tolerate: options.Tolerate = None,
    confidence: options.Confidence = None,
    largest_single_loss: options.LargestLoss = None,
    terms: options.TermsFile = None,
    wrapper: options.Wrapper = None,
    source_map: options.SourceMap = None,
    allow_mismatch: options.AllowMismatch = False,
    suppressions: options.Suppressions = None,
) -> None:
    """Say whether a console log shows a leak, where, and whether that is all of it."""
    from heaptrail.cli.output import check_targets, exit_status, load_known, with_known, write_report
    from heaptrail.cli.progress import reading_progress
    from heaptrail.interpret import Interpretation, Terms, interpret
    from heaptrail.procedures.workload import load_workload
    from heaptrail.reading import ReadOptions

    targets = check_targets(output_format, output)
    known = load_known(suppressions)
    reading = ReadOptions(
        dialect=dialect,
        cycle_mark=cycle_mark,
        boot_mark=boot_mark,
        pattern=pattern,
        columns=options.names(columns),
    )
    given = Terms(
        warmup_cycles=warmup_cycles,
        tolerate_bytes_per_cycle=tolerate,
        confidence=confidence,
        largest_single_loss_bytes=largest_single_loss,
    )
    first_elf, more_elfs = options.elfs(elf)
    interpretation = Interpretation(
        elf=first_elf,
        more_elfs=more_elfs,
        debug_file=debug_file,
        terms=given if terms is None else given.over(load_workload(terms).judge_settings()),
        source_map=tuple(source_map or ()),
        wrappers=tuple(wrapper or ()),
        allow_mismatch=allow_mismatch,
    )
    with reading_progress() as progress:
        report = interpret(logs, reading, interpretation, progress=progress)
    report = with_known(report, known, tolerate)
    write_report(report, targets)
    raise typer.Exit(exit_status(report))
