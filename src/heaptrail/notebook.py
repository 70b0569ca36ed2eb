"""A report in a notebook: `heaptrail.show(report)` as the last line of a cell.

The record stays a record; this is a view of it. In a cell it is a short page without scripts; `figure` gives the charts
for plotly's own display, `rows` a table for any data frame library.
"""

from __future__ import annotations

import csv
import io
from html import escape
from typing import TYPE_CHECKING

from heaptrail.errors import UsageError
from heaptrail.reports import wording
from heaptrail.reports.charts import report_figures
from heaptrail.reports.csvfile import CsvRenderer
from heaptrail.reports.terminal import TerminalRenderer
from heaptrail.reports.untrusted import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    import plotly.graph_objects

    from heaptrail.model.report import Finding, Report

_FINDINGS_SHOWN = 20


class Shown:
    """A report that shows itself; `report` is the record."""

    def __init__(self, report: Report) -> None:
        self.report = report

    def __repr__(self) -> str:
        return TerminalRenderer().render(self.report).decode()

    def _repr_html_(self) -> str:
        """What Jupyter shows: the verdict, the figures and the findings, every string escaped."""
        return "\n".join(_html(self.report))

    def figure(self, key: str = "free-heap") -> plotly.graph_objects.Figure:
        """One chart: `free-heap`, `free-heap-2` and so on for each heap, or the live bytes by stack.

        Raises:
            UsageError: The report has no such chart; the message lists those that it has.
        """
        figures = report_figures(self.report)
        if key not in figures:
            raise UsageError(
                f"this report has no chart {key!r}",
                try_this=f"one of: {', '.join(figures) or 'none, it has no readings'}",
            )
        return figures[key]

    def rows(self) -> list[dict[str, str]]:
        """The sites, one row each, with the columns of `--format csv`: `polars.DataFrame(shown.rows())`."""
        return list(csv.DictReader(io.StringIO(CsvRenderer().render(self.report).decode(), newline="")))


def show(report: Report) -> Shown:
    """A view of the report for a notebook or a REPL."""
    return Shown(report)


def _text(text: str) -> str:
    return escape(printable(text, 400))


def _html(report: Report) -> Iterator[str]:
    yield f"<p><strong>{_text(report.headline)}</strong></p>"
    figures = [
        ("lost per cycle", wording.loss_per_cycle(report)[0]),
        ("heap used up in", wording.exhaustion(report)[0]),
        *((word, f"{count} {share}".rstrip()) for word, count, share in _books(report)),
    ]
    yield "<table>"
    yield from (f"<tr><th>{label}</th><td>{_text(value)}</td></tr>" for label, value in figures)
    yield "</table>"
    if report.findings:
        yield "<table><tr><th>class</th><th>finding</th><th>per cycle</th><th>live</th></tr>"
        yield from (_row(finding) for finding in report.findings[:_FINDINGS_SHOWN])
        yield "</table>"
    if len(report.findings) > _FINDINGS_SHOWN:
        yield f"<p>and {len(report.findings) - _FINDINGS_SHOWN:,} more findings</p>"
    yield from (f"<p>{_text(problem.what)}: {_text(problem.text)}</p>" for problem in report.problems[:_FINDINGS_SHOWN])


def _books(report: Report) -> tuple[tuple[str, str, str], ...]:
    return wording.books_rows(report.books) if report.books is not None else ()


def _row(finding: Finding) -> str:
    known = " (suppressed)" if finding.suppressed_by else ""
    cells = (
        f"{wording.CLASSES[finding.finding_class][0]}{known}",
        finding.summary,
        wording.growth_text(finding),
        wording.live_text(finding),
    )
    return f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in cells)}</tr>"
