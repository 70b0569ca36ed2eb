"""A comparison of two reports as one HTML page, in the look of the report's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from heaptrail.reports import wording
from heaptrail.reports.difference import CHANGE_WORDS, comparison_rows
from heaptrail.reports.difference_icicle import difference_icicle
from heaptrail.reports.page import LargeTable, large_table, render_page

if TYPE_CHECKING:
    from heaptrail.model.comparison import Comparison, Outcome, SiteChange, SiteState
    from heaptrail.model.verdict import VerdictWord

_LOOKS: Final[dict[Outcome, VerdictWord]] = {
    "worse": "leak",
    "same": "no_leak",
    "better": "no_leak",
    "inconclusive": "inconclusive",
}
"""The colour of the headline: that of the verdict with the same exit status."""
_SENTENCES: Final = 10
_HEADINGS: Final = (
    ("Change", False),
    ("Site", False),
    ("Place", False),
    ("Before", True),
    ("After", True),
    ("Class before", False),
    ("Class after", False),
)


def difference_html(comparison: Comparison) -> bytes:
    """The whole page in UTF-8: the outcome, both runs side by side, the icicle of the difference, a row a site."""
    icicle = difference_icicle(comparison)
    said = comparison.sentences()
    return render_page(
        "difference.html.j2",
        [icicle] if icicle else [],
        comparison=comparison,
        look=_LOOKS[comparison.outcome],
        reasons=said[1 : 1 + _SENTENCES],
        more_reasons=max(len(said) - 1 - _SENTENCES, 0),
        rows=list(comparison_rows(comparison)),
        icicle=icicle,
        changes=_changes(comparison),
    )


def _changes(comparison: Comparison) -> LargeTable:
    return large_table("changes", _HEADINGS, [_row(change) for change in comparison.changes])


def _row(change: SiteChange) -> tuple[str | float | None, ...]:
    state = change.after or change.before
    known = ", suppressed" if change.suppressed_by else ""
    return (
        f"{CHANGE_WORDS[change.change]}{known}",
        change.name or (change.chain[0] if change.chain else ""),
        wording.place_text(state.file, state.line, parts=2) if state else "",
        _rate(change.before),
        _rate(change.after),
        _class(change.before),
        _class(change.after),
    )


def _rate(state: SiteState | None) -> float | None:
    return None if state is None or state.per_cycle_bytes is None else round(state.per_cycle_bytes, 1)


def _class(state: SiteState | None) -> str:
    return "not there" if state is None else wording.CLASSES[state.site_class][0]
