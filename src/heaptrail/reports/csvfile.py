"""A table of sites as CSV (RFC 4180), for a spreadsheet or a data frame: one row for each site.

A cell of text that a spreadsheet would take for a formula gets an apostrophe in front: its first character comes from a
device or an ELF, which are not trusted (OWASP, "CSV Injection"). Numbers are never touched; what is unknown is empty.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, ClassVar, Final

from heaptrail.model.identity import site_fingerprint
from heaptrail.reports.untrusted import NAME_CHARACTERS, printable
from heaptrail.units import format_address

if TYPE_CHECKING:
    from heaptrail.model.report import Finding, Report, Site

COLUMNS: Final = (
    "finding",
    "class",
    "function",
    "file",
    "line",
    "live_blocks",
    "live_bytes",
    "size_kind",
    "sizes_bytes",
    "per_cycle_blocks",
    "per_cycle_bytes",
    "per_cycle_footprint_bytes",
    "tasks",
    "suppressed_by",
    "stack",
    "fingerprint",
)
_FORMULA: Final = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""And their full-width forms, which spreadsheets of some languages take for the same."""


class CsvRenderer:
    """A table with a row for each allocation site, for spreadsheets and data frames."""

    name: ClassVar[str] = "csv"
    suffixes: ClassVar[tuple[str, ...]] = (".csv",)

    def render(self, report: Report) -> bytes:
        """The table with its header, UTF-8, lines end in CR LF; several values of one cell stand between semicolons."""
        file = io.StringIO(newline="")
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(
            _row(number, finding, site)
            for number, finding in enumerate(report.findings, start=1)
            for site in finding.sites
        )
        return file.getvalue().encode()


def _row(number: int, finding: Finding, site: Site) -> tuple[object, ...]:
    return (
        number,
        finding.finding_class,
        cell_text(site.name, NAME_CHARACTERS),
        cell_text(site.file, 400),
        site.line,
        site.live_blocks,
        site.live_bytes,
        site.size_kind,
        ";".join(str(size) for size in site.sizes_bytes),
        site.per_cycle_blocks,
        site.per_cycle_bytes,
        site.per_cycle_footprint_bytes,
        cell_text(";".join(printable(task, 40).replace(";", ":") for task in site.tasks), 400),
        cell_text(finding.suppressed_by, 400),
        cell_text(" < ".join(_step(frame.function, frame.pc) for frame in site.frames), 32_000),
        site_fingerprint(site),
    )


def _step(function: str | None, pc: int) -> str:
    return printable(function, NAME_CHARACTERS) if function else format_address(pc)


def cell_text(text: str | None, limit: int) -> str:
    """`text` as a cell that no spreadsheet runs: printable, at most `limit` characters, an apostrophe where needed."""
    shown = printable(text or "", limit)
    return f"'{shown}" if shown.lstrip().startswith(_FORMULA) else shown
