"""`heaptrail parse`: the observations of a log, as JSON lines or as a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from heaptrail.cli import options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import BinaryIO

    from heaptrail.model.observations import AnyObservation

    Writer = Callable[[Iterable[AnyObservation], BinaryIO], None]

_SUFFIXES = {
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".csv": "csv",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
}


def parse_command(
    log: Annotated[Path, typer.Argument(metavar="LOG", help="A capture or plain log; - is standard input.")],
    *,
    output_format: Annotated[
        str | None,
        typer.Option(
            "--format", help="json (one object a line), csv, parquet, arrow.", show_default="by --output, else json"
        ),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write; - is standard output.")] = Path("-"),
    dialect: options.Dialect = "auto",
    cycle_mark: options.CycleMark = None,
    boot_mark: options.BootMark = None,
    pattern: options.Pattern = None,
    columns: options.Columns = None,
) -> None:
    """Print what a log says, one JSON object a line or as one table (the fields are in SPEC.md)."""
    from heaptrail.cli.output import open_binary
    from heaptrail.reading import ReadOptions, observe

    write = _writer(output_format or _SUFFIXES.get(output.suffix.lower(), "json"))
    reading = ReadOptions(
        dialect=dialect,
        cycle_mark=cycle_mark,
        boot_mark=boot_mark,
        pattern=pattern,
        columns=options.names(columns),
    )
    with open_binary(output) as out:
        write(observe(log, reading), out)


def _writer(name: str) -> Writer:
    from functools import partial

    from heaptrail.errors import UsageError
    from heaptrail.reports.observations import write_csv, write_json_lines
    from heaptrail.reports.tables import write_observations

    writers: dict[str, Writer] = {
        "json": write_json_lines,
        "csv": write_csv,
        "parquet": partial(write_observations, table_format="parquet"),
        "arrow": partial(write_observations, table_format="arrow"),
    }
    if name not in writers:
        raise UsageError(f"observations cannot be written as {name!r}", try_this=f"one of: {', '.join(writers)}")
    return writers[name]
