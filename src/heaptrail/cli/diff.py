"""`heaptrail diff`: what became of the leaks between two runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from heaptrail.cli import options

if TYPE_CHECKING:
    from collections.abc import Callable

    from heaptrail.model.comparison import Comparison, Outcome
    from heaptrail.model.report import Report

EXIT_STATUS: Final[dict[Outcome, int]] = {"same": 0, "better": 0, "worse": 1, "inconclusive": 3}

_SUFFIXES: Final = {".txt": "terminal", ".md": "markdown", ".json": "json", ".html": "html", ".htm": "html"}


def diff_command(
    before: Annotated[Path, typer.Argument(metavar="A", help="A saved report (JSON), a capture or a log.")],
    after: Annotated[Path, typer.Argument(metavar="B", help="The same of the later run; the builds may differ.")],
    *,
    elf_a: Annotated[
        Path | None, typer.Option("--elf-a", help="The ELF of A, where A is a capture or a log.", show_default=False)
    ] = None,
    elf_b: Annotated[
        Path | None, typer.Option("--elf-b", help="The ELF of B, where B is a capture or a log.", show_default=False)
    ] = None,
    output_format: Annotated[
        str | None,
        typer.Option("--format", help="terminal, markdown, html or json.", show_default="terminal, or by --output"),
    ] = None,
    output: options.Output = None,
    cycle_mark: options.CycleMark = None,
    boot_mark: options.BootMark = None,
    wrapper: options.Wrapper = None,
    suppressions: options.Suppressions = None,
) -> None:
    """Say what became of the leaks between two runs, of the same build or another.

    Exit status: 0 no new or grown leak, 1 a new or grown leak, 3 inconclusive.
    """
    from heaptrail.cli.output import load_known, open_binary, say, with_known
    from heaptrail.compare import compare

    writers = [(_writer(output_format, path), path) for path in output or [Path("-")]]
    known = load_known(suppressions)
    marks = (cycle_mark, boot_mark)
    wrappers = tuple(wrapper or ())
    old = _report(before, elf_a, marks, wrappers)
    new = with_known(_report(after, elf_b, marks, wrappers), known)
    comparison = compare(old, new)
    for write, path in writers:
        with open_binary(path) as out:
            out.write(write(comparison))
        if path != Path("-"):
            say(f"wrote {path}")
    raise typer.Exit(EXIT_STATUS[comparison.outcome])


def _writer(name: str | None, path: Path) -> Callable[[Comparison], bytes]:
    from heaptrail.errors import UsageError
    from heaptrail.reports.difference import difference_json, difference_markdown, difference_text
    from heaptrail.reports.difference_page import difference_html

    writers: dict[str, Callable[[Comparison], bytes]] = {
        "terminal": difference_text,
        "markdown": difference_markdown,
        "json": difference_json,
        "html": difference_html,
    }
    found = name or ("terminal" if path == Path("-") else _SUFFIXES.get(path.suffix))
    if found is None:
        raise UsageError(
            f"the suffix of {path.name} does not say which format to write",
            try_this=f"a name that ends in {', '.join(_SUFFIXES)}, or --format",
        )
    if found not in writers:
        raise UsageError(
            f"a comparison cannot be written as {found!r}", try_this=f"one of: {', '.join(sorted(writers))}"
        )
    return writers[found]


def _report(path: Path, elf: Path | None, marks: tuple[str | None, str | None], wrappers: tuple[str, ...]) -> Report:
    """The report in the file, or the one on the capture in it."""
    from heaptrail.interpret import Interpretation, report_on
    from heaptrail.reading import ReadOptions

    reading = ReadOptions(cycle_mark=marks[0], boot_mark=marks[1])
    return report_on([path], reading, Interpretation(elf=elf, wrappers=wrappers))
