"""The report as one HTML file that works with the network off and, but for the charts, with JavaScript off.

Everything that reaches the page goes through Jinja2's autoescape and, before it, through `printable`. The page forbids
itself all loading (Content-Security-Policy in a meta element, W3C CSP Level 3): no address is allowed for anything, and
scripts run only if their SHA-256 is in the policy, so a script that slipped in from a log would not run. Styles alone
are allowed inline without a hash: plotly.js writes its own style element and style attributes when it draws.
"""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, ClassVar, Final

import jinja2
import msgspec
from markupsafe import Markup

from heaptrail.model.report import Finding, TaskRow
from heaptrail.reports import wording
from heaptrail.reports.charts import plotly_script, report_charts
from heaptrail.reports.figure import PALETTE
from heaptrail.reports.untrusted import NAME_CHARACTERS, printable, source_line
from heaptrail.units import format_address, plural

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
_BEFORE_UNIT: Final = re.compile(r"(?<=\d) (?=(?:B|h|min|s)(?!\w))")
"""A number stays on one line with its unit."""


class HtmlRenderer:
    """One HTML file with charts, to send to a colleague or a customer; it loads nothing from anywhere."""

    name: ClassVar[str] = "html"
    suffixes: ClassVar[tuple[str, ...]] = (".html", ".htm")

    def render(self, report: Report) -> bytes:
        """The whole page in UTF-8, about five megabytes, nearly all of it plotly.js; less where there is no chart."""
        charts = report_charts(report)
        own, plotly = _asset("report.js"), plotly_script() if charts else ""
        page = (
            _environment()
            .get_template("report.html.j2")
            .render(
                report=report,
                charts=charts,
                curves=[chart for chart in charts if chart.key != "live-bytes"],
                live_chart=next((chart for chart in charts if chart.key == "live-bytes"), None),
                chart_data=_json_for_script({chart.key: chart.spec for chart in charts}),
                figures=_key_figures(report),
                split=_split(report.findings),
                tasks=_task_table(report.tasks),
                css=Markup(_asset("report.css")),  # noqa: S704 - our own file
                own_script=Markup(own),  # noqa: S704 - our own file
                plotly_script=Markup(plotly),  # noqa: S704 - the installed package's own file
                script_hashes=Markup(" ").join(_csp_hash(script) for script in (plotly, own) if script),
                palette=PALETTE,
            )
        )
        return page.encode("utf-8", "backslashreplace")


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


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("heaptrail.reports", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.globals.update(
        w=wording, plural=plural, counts_bars=_counts_bars, listed=_listed_readings, excerpts=_excerpts, when=_when
    )
    environment.filters.update(address=format_address, source_line=source_line, thousands="{:,}".format, name=_name)
    environment.globals.update(addresses_listed=_ADDRESSES_LISTED, counts_listed=_COUNTS_LISTED)
    environment.globals.update(problems_listed=_PROBLEMS_LISTED)
    return environment


def _shown(value: Any) -> Any:  # noqa: ANN401 - whatever a template prints
    """Every expression of the template passes here: text is made printable and bounded, then escaped by autoescape."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return _BEFORE_UNIT.sub("\u00a0", printable(value))


def _name(text: str) -> str:
    return printable(text, NAME_CHARACTERS)


@cache
def _asset(name: str) -> str:
    return files("heaptrail.reports").joinpath("templates", name).read_text(encoding="utf-8")


def _csp_hash(script: str) -> Markup:
    digest = hashlib.sha256(script.encode()).digest()
    return Markup(f"'sha256-{base64.b64encode(digest).decode()}'")  # noqa: S704 - base64 of our own making


def _json_for_script(value: Any) -> Markup:  # noqa: ANN401 - the JSON types
    """JSON for a script element of type application/json: no character there can end the element."""
    text = msgspec.json.encode(value).decode()
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 - escaped above


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
    if report.upper_bound is not None:
        bound = report.upper_bound
        largest = wording.bytes_text(bound.largest_single_loss_bytes)
        terms = f"{wording.share_text(bound.confidence)} confidence, single losses of at most {largest}"
        figures.append(("Upper bound per cycle", wording.bytes_text(bound.bytes_per_cycle), terms))
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
