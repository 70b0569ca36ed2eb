"""`heaptrail parse`: the observations of a log, one JSON object a line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from heaptrail.cli import options


def parse_command(
    log: Annotated[Path, typer.Argument(metavar="LOG", help="A capture or plain log; - is standard input.")],
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write; - is standard output.")] = Path("-"),
    dialect: options.Dialect = "auto",
    cycle_mark: options.CycleMark = None,
    boot_mark: options.BootMark = None,
    pattern: options.Pattern = None,
    columns: options.Columns = None,
) -> None:
    """Print what a log says, one JSON object a line (the fields are in SPEC.md)."""
    import msgspec

    from heaptrail.cli.output import open_binary
    from heaptrail.reading import ReadOptions, observe

    encoder = msgspec.json.Encoder()
    reading = ReadOptions(
        dialect=dialect,
        cycle_mark=cycle_mark,
        boot_mark=boot_mark,
        pattern=pattern,
        columns=options.names(columns),
    )
    with open_binary(output) as out:
        for observation in observe(log, reading):
            out.write(encoder.encode(observation) + b"\n")
