"""`heaptrail trace`: a report from a binary recording of every allocation and free."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from heaptrail.cli import options


def trace_command(
    streams: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="What the agent's event stream sent, or SystemView's .svdat files, one for each core; - is standard "
            "input.",
        ),
    ],
    *,
    elf: options.Elf = None,
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
) -> None:
    """Say from the history of every allocation and free what leaks, who allocates it, and who alone frees."""
    from heaptrail.cli.output import EXIT_STATUS, check_targets, write_report
    from heaptrail.interpret import Interpretation, Terms, interpret_stream
    from heaptrail.reading import ReadOptions

    targets = check_targets(output_format, output)
    interpretation = Interpretation(
        elf=elf,
        debug_file=debug_file,
        terms=Terms(warmup_cycles=warmup_cycles, confidence=confidence, largest_single_loss_bytes=largest_single_loss),
        source_map=tuple(source_map or ()),
        wrappers=tuple(wrapper or ()),
        allow_mismatch=allow_mismatch,
    )
    report = interpret_stream(streams, ReadOptions(cycle_mark=cycle_mark), interpretation)
    write_report(report, targets)
    raise typer.Exit(EXIT_STATUS[report.verdict])
