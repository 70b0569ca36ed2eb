"""The door for scripts and notebooks: `heaptrail.read` gives a report that shows itself.

In a cell it is a short page without scripts, in a terminal the text report; `figure` gives its charts for plotly,
`to_polars` its tables. It is the record of `heaptrail.model.report` otherwise, with all its fields.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Self

from heaptrail.errors import UsageError
from heaptrail.interpret import Interpretation, Terms, report_on
from heaptrail.model.report import Report as Record
from heaptrail.reading import ReadOptions, observe
from heaptrail.reports import wording
from heaptrail.reports.untrusted import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    import plotly.graph_objects
    import polars as pl

    from heaptrail.model.observations import AnyObservation
    from heaptrail.model.report import Finding

_FINDINGS_SHOWN: Final = 20


class Report(Record, frozen=True, kw_only=True):
    """A report that shows itself. `findings`, `books`, `verdict` and the rest are as in SPEC.md, "Report"."""

    @classmethod
    def of(cls, record: Record) -> Self:
        """The same report, with the ways to show it."""
        return cls(**{name: getattr(record, name) for name in record.__struct_fields__})

    def __repr__(self) -> str:
        from heaptrail.reports.terminal import TerminalRenderer  # noqa: PLC0415 - rich is loaded where it is shown

        return TerminalRenderer().render(self).decode()

    def _repr_html_(self) -> str:
        """What Jupyter shows: the verdict, the figures and the findings, every string escaped."""
        return "\n".join(_html(self))

    def figure(self, key: str = "free-heap") -> plotly.graph_objects.Figure:
        """One chart: `free-heap`, `free-heap-2` and so on for each heap, or `live-bytes` by stack.

        Raises:
            UsageError: The report has no such chart; the message lists those that it has.
        """
        from heaptrail.reports.charts import report_figures  # noqa: PLC0415 - plotly is loaded where it is shown

        figures = report_figures(self)
        if key not in figures:
            raise UsageError(
                f"this report has no chart {key!r}",
                try_this=f"one of: {', '.join(figures) or 'none, it has no readings'}",
            )
        return figures[key]

    def to_polars(self, table: Literal["sites", "readings"] = "sites") -> pl.DataFrame:
        """A data frame: a row for each allocation site with its finding, or for each reading of the heap.

        The columns are those of `--format parquet` (docs/formats.md).

        Raises:
            UsageError: The packages of the extra `tables` are not installed, or there is no such table.
        """
        from heaptrail.reports.tables import reading_table, site_table  # noqa: PLC0415 - loaded where it is used

        tables = {"sites": site_table, "readings": reading_table}
        if table not in tables:
            raise UsageError(f"a report has no table {table!r}", try_this=f"one of: {', '.join(tables)}")
        try:
            import polars as pl  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise UsageError(
                f"a data frame needs a package that is not installed ({error.name})",
                try_this='pip install "heaptrail[tables]"',
            ) from error
        frame = pl.from_arrow(tables[table](self))
        assert isinstance(frame, pl.DataFrame)
        return frame


def read(
    *logs: str | Path,
    elf: str | Path | None = None,
    dialect: str = "auto",
    cycle_mark: str | None = None,
    boot_mark: str | None = None,
    terms: Terms | None = None,
) -> Report:
    """The report on some captures or plain logs, as `heaptrail read` makes it; or a saved report (JSON), as it is.

    Raises:
        HeaptrailError: An input cannot be read, or the ELF does not belong to it.
    """
    return Report.of(
        report_on(
            [Path(log) for log in logs],
            ReadOptions(dialect=dialect, cycle_mark=cycle_mark, boot_mark=boot_mark),
            Interpretation(elf=Path(elf) if elf is not None else None, terms=terms or Terms()),
        )
    )


def parse(
    log: str | Path, *, dialect: str = "auto", cycle_mark: str | None = None, boot_mark: str | None = None
) -> Iterator[AnyObservation]:
    """What a log says, one observation at a time, as `heaptrail parse` prints it.

    Raises:
        HeaptrailError: The log cannot be read.
    """
    return iter(observe(Path(log), ReadOptions(dialect=dialect, cycle_mark=cycle_mark, boot_mark=boot_mark)))


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
