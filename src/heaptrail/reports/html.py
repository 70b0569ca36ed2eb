"""The report as one HTML file; `page` says what every page is."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Final

import msgspec

from heaptrail.model.report import Finding, TaskRow
from heaptrail.reports import wording
from heaptrail.reports.charts import report_charts
from heaptrail.reports.page import LargeTable, large_table, render_page
from heaptrail.units import plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from heaptrail.model.report import Frame, Report, Series, Site

_SITES_IN_FULL: Final = 200
"""Sites shown with their stacks; the rest stands in a table. A page of thousands of stacks is read by nobody."""
_OPEN_SITES: Final = 8
_READINGS_LISTED: Final = 200
_BARS: Final = 96
_ADDRESSES_LISTED: Final = 200
_COUNTS_LISTED: Final = 200
_PROBLEMS_LISTED: Final = 1_000
_SOURCE_FRAMES_OPEN: Final = 1


class HtmlRenderer:
    """One HTML file with charts, to send to a colleague or a customer; it loads nothing from anywhere."""

    name: ClassVar[str] = "html"
    suffixes: ClassVar[tuple[str, ...]] = (".html", ".htm")

    def render(self, report: Report) -> bytes:
        """The whole page in UTF-8, about five megabytes, nearly all of it plotly.js; less where there is no chart."""
        charts = report_charts(report)
        split = _split(report.findings)
        return render_page(
            "report.html.j2",
            charts,
            report=report,
            curves=[chart for chart in charts if chart.key != "live-bytes"],
            live_chart=next((chart for chart in charts if chart.key == "live-bytes"), None),
            figures=_key_figures(report),
            split=split,
            rest=_rest_table(split.rest) if split.rest else None,
            tasks=_task_table(report.tasks),
            counts_bars=_counts_bars,
            listed=_listed_readings,
            excerpts=_excerpts,
            when=_when,
            addresses_listed=_ADDRESSES_LISTED,
            counts_listed=_COUNTS_LISTED,
            problems_listed=_PROBLEMS_LISTED,
        )


class _Split(msgspec.Struct, frozen=True):
    """Findings with their rank: those shown in full, and the rest."""

    full: list[tuple[int, Finding, bool]]
    """Rank, finding, whether it is open from the start."""
    rest: list[tuple[int, Finding]]


class _TaskTable(msgspec.Struct, frozen=True):
    columns: list[tuple[str, str]]
    """Field and heading, of those that any task has."""
    rows: list[TaskRow]


class _Bars(msgspec.Struct, frozen=True):
    """Live blocks by dump, drawn: `(x, y, height)` in a box of `width` by 28."""

    width: int
    bars: list[tuple[int, float, float]]
    thinned: bool


def _key_figures(report: Report) -> list[tuple[str, str, str]]:
    """Label, figure, and what qualifies it; only those that are known."""
    figures: list[tuple[str, str, str]] = []
    if report.rate_bytes_per_cycle is not None:
        figures.append(("Lost per cycle", *wording.loss_per_cycle(report)))
    if report.rate_bytes_per_hour is not None:
        figures.append(("Lost per hour", *wording.loss_per_hour(report)))
    if report.exhaustion_hours is not None:
        figures.append(("Heap full in", *wording.exhaustion(report)))
    if report.exhaustion_cycles is not None:
        figures.append(("Heap full after", *wording.exhaustion_cycles(report)))
    if report.upper_bound is not None and report.verdict != "leak":  # beside a leak's own limits it contradicts them
        bound = report.upper_bound
        largest = wording.bytes_text(bound.largest_single_loss_bytes)
        terms = f"{wording.share_text(bound.confidence)} confidence, single losses of at most {largest}"
        figures.append((f"Upper bound per {bound.unit}", wording.bytes_text(bound.value), terms))
    if report.books is not None:
        books = report.books
        of = f"{wording.bytes_text(books.explained_bytes)} of {wording.bytes_text(books.lost_bytes)}"
        figures.append(("Explained", wording.share_text(books.share_explained), of))
    cycles = plural(report.cycles, "cycle") if report.cycles is not None else "cycles unknown"
    readings = plural(sum(series.readings for series in report.series), "heap reading")
    figures.append(("Observed", cycles, f"{plural(report.boots, 'boot')}, {readings}"))
    return figures


def _split(findings: Sequence[Finding]) -> _Split:
    grows = any(finding.finding_class in wording.GROWING for finding in findings)
    opened = wording.GROWING if grows else ("undecided",)
    full: list[tuple[int, Finding, bool]] = []
    rest: list[tuple[int, Finding]] = []
    sites = 0
    for rank, finding in enumerate(findings, start=1):
        sites += len(finding.sites)
        if sites <= _SITES_IN_FULL:
            full.append((rank, finding, finding.finding_class in opened and sites <= _OPEN_SITES))
        else:
            rest.append((rank, finding))
    return _Split(full, rest)


def _rest_table(rest: Sequence[tuple[int, Finding]]) -> LargeTable:
    """One row for each site that is not shown with its stack."""
    headings = (
        ("Rank", True),
        ("Class", False),
        ("Site", False),
        ("Place", False),
        ("Blocks", True),
        ("Bytes", True),
        ("Blocks per cycle", True),
    )
    return large_table(
        "further-sites",
        headings,
        [
            (
                rank,
                wording.CLASSES[finding.finding_class][0],
                wording.site_label(site),
                wording.place_text(site.file, site.line, parts=2),
                site.live_blocks,
                site.live_bytes,
                None if site.per_cycle_blocks is None else round(site.per_cycle_blocks, 2),
            )
            for rank, finding in rest
            for site in finding.sites
        ],
    )


def _task_table(tasks: Sequence[TaskRow]) -> _TaskTable:
    """The columns that are known of any task; the tightest stack first."""
    headings = (
        ("name", "Task"),
        ("stack_free_min_words", "Least stack free, words"),
        ("stack_free_min_bytes", "Least stack free, bytes"),
        ("stack_size_bytes", "Stack size, bytes"),
        ("stack_used_max_percent", "Stack used, %"),
        ("heap_bytes", "Heap held, bytes"),
        ("state", "State"),
        ("priority", "Priority"),
        ("id", "No."),
        ("rows", "Rows seen"),
    )
    columns = [(field, text) for field, text in headings if any(getattr(task, field) is not None for task in tasks)]
    return _TaskTable(columns, sorted(tasks, key=_stack_reserve))


def _stack_reserve(task: TaskRow) -> float:
    for reserve in (task.stack_free_min_bytes, task.stack_free_min_words):
        if reserve is not None:
            return reserve
    return float("inf")


def _counts_bars(site: Site) -> _Bars:
    counts = [count for _, count in site.counts]
    step = max(1, -(-len(counts) // _BARS))
    shown = counts[::step]
    highest = max(max(shown, default=0), 1)
    bars = [
        (7 * number, 28 - (height := round(max(27 * count / highest, 0.0) + 1, 2)), height)
        for number, count in enumerate(shown)
    ]
    return _Bars(width=max(7 * len(shown) - 2, 1), bars=bars, thinned=step > 1)


def _listed_readings(series: Series) -> list[Any]:
    """Readings for the table beside a chart: all, or every so many."""
    return list(series.points[:: max(1, -(-len(series.points) // _READINGS_LISTED))])


def _excerpts(site: Site) -> list[tuple[Frame, bool]]:
    """Frames whose source is at hand, that which names the site first and open."""
    naming = wording.naming_index(site)
    with_source = [(index, frame) for index, frame in enumerate(site.frames) if frame.excerpt is not None]
    with_source.sort(key=lambda pair: pair[0] != naming)
    return [(frame, position < _SOURCE_FRAMES_OPEN) for position, (_, frame) in enumerate(with_source)]


def _when(unix_s: float | None) -> str:
    if unix_s is None:
        return ""
    try:
        return datetime.fromtimestamp(unix_s, tz=UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (OverflowError, OSError, ValueError):  # the clock of a capture may say anything
        return f"{unix_s} s after 1970"
