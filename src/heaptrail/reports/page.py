"""What every page is: one HTML file that works with the network off and, but for the charts, with JavaScript off.

Everything that reaches a page goes through Jinja2's autoescape and, before it, through `printable`. The page forbids
itself all loading (Content-Security-Policy in a meta element, W3C CSP Level 3): no address is allowed for anything, and
scripts run only if their SHA-256 is in the policy, so a script that slipped in from a log would not run. Styles alone
are allowed inline without a hash: plotly.js writes its own style element and style attributes when it draws.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

import jinja2
import msgspec
from markupsafe import Markup

from heaptrail.reports import wording
from heaptrail.reports.charts import plotly_script
from heaptrail.reports.figure import PALETTE
from heaptrail.reports.untrusted import NAME_CHARACTERS, printable, source_line
from heaptrail.units import format_address, plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from heaptrail.reports.figure import Chart

Cell = str | int | float | None

_ROWS_IN_PAGE: Final = 500
"""Rows of a large table that stand in the page itself; more at once make a browser slow, and nobody reads on."""
_EXACT: Final = 1 << 53
_BEFORE_UNIT: Final = re.compile(r"(?<=\d) (?=(?:B|h|min|s)(?!\w))")
"""A number stays on one line with its unit."""


class LargeTable(msgspec.Struct, frozen=True, kw_only=True):
    """A table that may have a hundred thousand rows: the first stand in the page, all of them in its data.

    With JavaScript it has a search field and sorts by any column, over all rows. Without, the first rows are there.
    """

    key: str
    headings: tuple[tuple[str, bool], ...]
    """Text, and whether the column holds numbers."""
    rows: tuple[tuple[Cell, ...], ...]
    count: int
    data: Markup


def large_table(key: str, headings: tuple[tuple[str, bool], ...], rows: Sequence[tuple[Cell, ...]]) -> LargeTable:
    """The table of these rows. Cells of text are made printable here, since the data does not pass the template."""
    shown = [tuple(_cell(cell) for cell in row) for row in rows]
    return LargeTable(
        key=key, headings=headings, rows=tuple(shown[:_ROWS_IN_PAGE]), count=len(shown), data=_json_for_script(shown)
    )


def render_page(template: str, charts: Sequence[Chart], **context: Any) -> bytes:  # noqa: ANN401 - what a template asks
    """A page from its template, in UTF-8, with the charts' data, the scripts, and the policy that allows just these."""
    own, plotly = _asset("report.js"), plotly_script() if charts else ""
    page = (
        _environment()
        .get_template(template)
        .render(
            charts=charts,
            chart_data=_json_for_script({chart.key: chart.spec for chart in charts}),
            css=Markup(_asset("report.css")),  # noqa: S704 - our own file
            own_script=Markup(own),  # noqa: S704 - our own file
            plotly_script=Markup(plotly),  # noqa: S704 - the installed package's own file
            script_hashes=Markup(" ").join(_csp_hash(script) for script in (plotly, own) if script),
            palette=PALETTE,
            **context,
        )
    )
    return page.encode("utf-8", "backslashreplace")


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
    environment.globals.update(w=wording, plural=plural)
    environment.filters.update(address=format_address, source_line=source_line, thousands="{:,}".format, name=_name)
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


def _cell(cell: Cell) -> Cell:
    if isinstance(cell, str):
        return printable(cell, 400)
    return cell if cell is None or abs(cell) <= _EXACT else None
