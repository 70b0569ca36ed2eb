"""The difference of two reports as an icicle: callers above, width for the larger of both rates, colour for the change.

A cell is as wide as what its sites leak, before or after, whichever is more; so what is gone is still seen, and as wide
as it was. Red grew and blue shrank, pale where most of the cell stayed as it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from heaptrail.reports import wording
from heaptrail.reports.icicle import Tile, icicle_chart
from heaptrail.units import format_rate, plural

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from heaptrail.model.comparison import Comparison, SiteChange, SiteState
    from heaptrail.reports.figure import Chart

_SITES_DRAWN: Final = 300
_STEPS_DRAWN: Final = 24
_UNITS: Final = 1_000
"""Widths are whole thousandths of a byte, so that sums are exact: a parent is never narrower than its children."""
_LARGEST: Final = float(1 << 40)
_MOSTLY: Final = 0.5
_HARDLY: Final = 0.1
"""As in the comparison: what differs by less than a tenth is the same."""

_Measure = tuple[str, "Callable[[SiteState], float | None]"]


class _Cell(msgspec.Struct):
    label: str
    parent: int | None
    place: str = ""
    width: int = 0
    before: float = 0.0
    after: float = 0.0
    undecided: int = 0
    sites: int = 0


def difference_icicle(comparison: Comparison) -> Chart | None:
    """The chart of every site that leaks in one of the reports; None where there is none with a known figure."""
    unit, measure = _measure(comparison)
    sized = [(change, *_ends(change, measure)) for change in comparison.changes]
    drawn = sorted((row for row in sized if max(row[1], row[2]) > 0), key=lambda row: -max(row[1], row[2]))
    if not drawn:
        return None
    cells = [_Cell(label="every site that leaks before or after", parent=None)]
    index: dict[tuple[int, str], int] = {}
    for change, before, after in drawn[:_SITES_DRAWN]:
        _add(cells, index, _path(change.chain), (change, before, after))
    rest = drawn[_SITES_DRAWN:]
    for change, before, after in rest:
        _add(cells, index, [f"{plural(len(rest), 'smaller site')}"], (change, before, after))
    tiles = [
        Tile(cell.label, cell.parent, cell.width, _colour(cell), (cell.label, cell.place, _told(cell, unit)))
        for cell in cells
    ]
    caption = (
        f"{plural(len(drawn), 'site')} by {unit}. A cell is as wide as the larger of before and after; outermost "
        "callers are at the top, allocators and wrappers are left out. It is pale where at least half stayed."
    )
    return icicle_chart("difference", "What grew and what shrank, by stack", caption, tiles)


def _measure(comparison: Comparison) -> _Measure:
    """Bytes per cycle where every leak has them, else live bytes: the two are never put side by side."""
    states = [state for change in comparison.changes for state in (change.before, change.after) if state is not None]
    if all(state.per_cycle_bytes is not None for state in states if state.site_class in wording.GROWING):
        return "bytes that stay per cycle", lambda state: state.per_cycle_bytes
    return "live bytes", lambda state: state.live_bytes


def _ends(change: SiteChange, measure: Callable[[SiteState], float | None]) -> tuple[float, float]:
    """What the site leaks before and after; a site that does not grow leaks nothing, whatever it holds."""

    def size(state: SiteState | None) -> float:
        value = measure(state) if state is not None and state.site_class in wording.GROWING else None
        if value is None or not value > 0:  # `not`: neither is a number that is none
            return 0.0
        return min(value, _LARGEST)

    before, after = size(change.before), size(change.after)
    return before, before if change.change == "not_shown" else after


def _path(chain: Sequence[str]) -> list[str]:
    """From the outermost caller to the site; what is left out of a deep one is said."""
    steps = list(reversed(chain[:_STEPS_DRAWN]))
    outer = len(chain) - _STEPS_DRAWN
    return [f"{plural(outer, 'outer step')} not drawn", *steps] if outer > 0 else steps


def _add(
    cells: list[_Cell], index: dict[tuple[int, str], int], path: Sequence[str], sized: tuple[SiteChange, float, float]
) -> None:
    change, before, after = sized
    at = 0
    for step in (None, *path):
        if step is not None:
            child = index.get((at, step))
            if child is None:
                child = index[at, step] = len(cells)
                name, _, file = step.partition("@")
                cells.append(_Cell(label=name, parent=at, place=file))
            at = child
        cell = cells[at]
        cell.width += max(round(_UNITS * max(before, after)), 1)
        cell.before += before
        cell.after += after
        cell.sites += 1
        cell.undecided += change.change == "not_shown"


def _colour(cell: _Cell) -> str:
    if cell.undecided == cell.sites:
        return "undecided-cell"
    share = (cell.after - cell.before) / max(cell.before, cell.after)
    if abs(share) <= _HARDLY:
        return "shared-cell"
    word = "grew" if share > 0 else "shrank"
    return f"{word}-cell" if abs(share) >= _MOSTLY else f"{word}-some-cell"


def _told(cell: _Cell, unit: str) -> str:
    figures = f"{format_rate(cell.before)} B before, {format_rate(cell.after)} B after, {unit}"
    if cell.undecided:
        figures += f"; of {plural(cell.undecided, 'site')} the second run does not show whether it is gone"
    return f"{figures} ({plural(cell.sites, 'site')})" if cell.sites > 1 else figures
