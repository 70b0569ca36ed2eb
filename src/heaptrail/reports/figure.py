"""What the figures of a report share: their record, their colours, and how text enters them.

A figure is plotly's own JSON (plotly.com/javascript/reference). Colours are written as CSS variables, `var(--free)`:
the page fills them from its theme, and again when the theme changes.
"""

from __future__ import annotations

from html import escape
from typing import Any, Final

import msgspec

from heaptrail.reports.untrusted import printable

Spec = dict[str, Any]
"""A plotly figure as JSON: `data`, `layout`."""

PALETTE: Final[dict[str, tuple[str, str]]] = {
    "ink": ("#1b2025", "#e4e8ec"),
    "muted": ("#56616b", "#9ba7b2"),
    "rule": ("#dde2e7", "#323a42"),
    "paper": ("#ffffff", "#13171b"),
    "free": ("#1f5f99", "#7ab4ec"),
    "low": ("#8a97a4", "#6d7a87"),
    "fit": ("#b3401f", "#f0a07a"),
    "traced": ("#e9eef4", "#222b34"),
    "good": ("#23703f", "#7cc796"),
    "caution": ("#875c00", "#d9ae57"),
    "highlight": ("#fdf3d3", "#3a3218"),
    "leak": ("#b3261e", "#e0695f"),
    "undecided": ("#a97a1c", "#c9a14a"),
    "innocent": ("#8fa3b5", "#566978"),
    "leak-cell": ("#f0c6c1", "#6d302b"),
    "undecided-cell": ("#eddcb1", "#5a4820"),
    "innocent-cell": ("#cfdae4", "#34434f"),
    "shared-cell": ("#eceff3", "#252d35"),
    "grew-cell": ("#e59b93", "#8d3a33"),
    "grew-some-cell": ("#f4d3cf", "#55302c"),
    "shrank-cell": ("#8fb6de", "#2d5f8f"),
    "shrank-some-cell": ("#cddff1", "#243f59"),
}
"""Colours by name: light, dark. The page's style sheet takes them from here."""

_LABEL_CHARACTERS: Final = 80
_FONT: Final = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif'


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """One figure with what stands beside it. `height_px` is what the figure needs to be legible."""

    key: str
    title: str
    caption: str
    height_px: int
    spec: Spec


def chart_label(text: str) -> str:
    """Text from the device for plotly, which reads a subset of HTML and entities in its labels."""
    return escape(printable(text, _LABEL_CHARACTERS), quote=False)


def base_layout(height_px: int) -> Spec:
    """What all figures share: no background of their own, the page's font and colours."""
    return {
        "height": height_px,
        "margin": {"l": 8, "r": 12, "t": 8, "b": 8},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": _FONT, "size": 12, "color": "var(--ink)"},
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": "var(--muted)", "activecolor": "var(--ink)"},
        "hoverlabel": {
            "bgcolor": "var(--paper)",
            "bordercolor": "var(--rule)",
            "font": {"family": _FONT, "size": 12, "color": "var(--ink)"},
            "align": "left",
        },
    }
