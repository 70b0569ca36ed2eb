"""`heaptrail render`: a saved report in another format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from heaptrail.cli import options


def render_command(
    report: Annotated[Path, typer.Argument(metavar="REPORT.json", help="A report saved with --format json.")],
    *,
    output_format: options.Format = None,
    output: options.Output = None,
    suppressions: options.Suppressions = None,
) -> None:
    """Show a saved report again, in any format."""
    from heaptrail.cli.output import check_targets, exit_status, load_known, with_known, write_report
    from heaptrail.errors import UsageError
    from heaptrail.reports.jsonfile import load_report

    targets = check_targets(output_format, output)
    known = load_known(suppressions)
    try:
        content = report.read_bytes()
    except OSError as error:
        raise UsageError(f"{report} cannot be read: {error.strerror}", try_this="the path of a saved report") from error
    loaded = with_known(load_report(content), known)
    write_report(loaded, targets)
    raise typer.Exit(exit_status(loaded))
