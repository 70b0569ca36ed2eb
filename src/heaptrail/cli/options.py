"""Options that mean the same in every command."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from heaptrail.errors import UsageError

Elf = Annotated[
    Path | None,
    typer.Option("--elf", help="The ELF of the build that ran, with debug information.", show_default=False),
]
Elfs = Annotated[
    list[Path] | None,
    typer.Option(
        "--elf",
        help="The ELF of the build that ran, or a folder that holds it; again for the boot loader's or the ROM's.",
        show_default=False,
    ),
]
DebugFile = Annotated[
    Path | None,
    typer.Option("--debug-file", help="Split debug information of that ELF.", show_default=False),
]
Format = Annotated[
    str | None,
    typer.Option("--format", help="How to print (`heaptrail list reports`).", show_default="terminal, or by --output"),
]
Output = Annotated[
    list[Path] | None,
    typer.Option(
        "--output", "-o", help="Write the report here, format by suffix; may be repeated. - is standard output."
    ),
]
Dialect = Annotated[
    str, typer.Option("--dialect", help="The console's dialect (`heaptrail list dialects`), or auto to find it.")
]
Pattern = Annotated[
    str | None,
    typer.Option("--pattern", metavar="REGEX", help="Your own heap lines: named groups free, used, min_free, …"),
]
Columns = Annotated[
    str | None,
    typer.Option("--columns", metavar="A,B,…", help="Your own table: its columns, as t_s, free, min_free; - is none."),
]
CycleMark = Annotated[
    str | None,
    typer.Option("--cycle-mark", metavar="REGEX", help="The firmware's own line that ends a round of the workload."),
]
BootMark = Annotated[
    str | None, typer.Option("--boot-mark", metavar="REGEX", help="A line that the firmware prints when it starts.")
]
AllowMismatch = Annotated[
    bool, typer.Option("--allow-mismatch", help="Use an ELF that does not fit the capture, with a warning.")
]
SourceMap = Annotated[
    list[str] | None,
    typer.Option("--source-map", metavar="OLD=NEW", help="Where sources are on this machine; may be repeated."),
]
Wrapper = Annotated[
    list[str] | None,
    typer.Option("--wrapper", metavar="NAME", help="A function that only passes allocations on; may be repeated."),
]
Tolerate = Annotated[
    float | None,
    typer.Option(
        "--tolerate",
        metavar="BYTES",
        min=0,
        help="Loss per cycle that does not matter.",
        show_default="idle free heap / 3000",
    ),
]
Confidence = Annotated[
    float | None,
    typer.Option("--confidence", min=0.5, max=0.999999, help="Of intervals and claims.", show_default="0.99"),
]
Warmup = Annotated[
    int | None,
    typer.Option(
        "--warmup-cycles", min=0, help="Rounds in which caches may still fill.", show_default="0, or as hunted"
    ),
]
TermsFile = Annotated[
    Path | None,
    typer.Option("--terms", metavar="FILE", help="Workload file whose terms hold (warm-up, [judge], capacities)."),
]
LargestLoss = Annotated[
    int | None,
    typer.Option(
        "--largest-single-loss", metavar="BYTES", min=1, help="Largest block one event may lose.", show_default="256"
    ),
]
Suppressions = Annotated[
    list[Path] | None,
    typer.Option(
        "--suppressions",
        metavar="FILE",
        help="Known leaks: LeakSanitizer's format, or TOML; may be repeated.",
        show_default=False,
    ),
]


def seconds_of(text: str) -> float:
    """The seconds of `--for`: from `90s`, `30m`, `10h`, `3d`.

    Raises:
        UsageError: It is none of these.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*(s|min|m|h|d)\s*", text)
    if match is None or float(match[1]) <= 0:
        raise UsageError(f"--for {text!r} is no length of time", try_this="90s, 30m, 10h or 3d")
    return float(match[1]) * {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}[match[2]]


def names(given: str | None) -> tuple[str, ...]:
    """The names in a list with commas; empty where none is given."""
    return () if given is None else tuple(name.strip() for name in given.split(","))


def elfs(given: list[Path] | None) -> tuple[Path | None, tuple[Path, ...]]:
    """The program's ELF, None where none is given, and the others'."""
    return (given[0], tuple(given[1:])) if given else (None, ())
