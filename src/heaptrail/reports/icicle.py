"""Live bytes by stack as an icicle: callers above, what they call below, width for bytes. How any icicle is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from heaptrail.reports import wording
from heaptrail.reports.figure import Chart, Spec, base_layout, chart_label
from heaptrail.units import format_address, plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from heaptrail.model.report import Finding, Frame, Report, Site

_SITES_DRAWN: Final = 300
"""Beyond a few hundred the cells are thinner than a pixel; the rest is one cell, and stands in the table."""
_FRAMES_DRAWN: Final = 24


class _Cell(msgspec.Struct):
    label: str
    parent: int | None
    live_bytes: int = 0
    live_blocks: int = 0
    classes: set[str] = msgspec.field(default_factory=set)
    place: str = ""


def icicle(report: Report) -> Chart | None:
    """The chart of all live blocks of the last dump, None where nothing is live. Colours tell the class."""
    sites = [(finding, site) for finding in report.findings for site in finding.sites if site.live_bytes > 0]
    if not sites:
        return None
    sites.sort(key=lambda pair: -pair[1].live_bytes)
    drawn = sites[:_SITES_DRAWN]
    cells = [_Cell(label="all live blocks of the last dump", parent=None)]
    index: dict[tuple[int, object], int] = {}
    for finding, site in drawn:
        _add_stack(cells, index, finding, site)
    rest = sites[_SITES_DRAWN:]
    if rest:
        other = _Cell(label=f"{plural(len(rest), 'smaller site')}", parent=0)
        for finding, site in rest:
            for cell in (cells[0], other):
                cell.classes.add(_colour_class(finding))
                cell.live_bytes += site.live_bytes
                cell.live_blocks += site.live_blocks
        cells.append(other)
    caption = (
        f"{plural(len(sites), 'site')} with {wording.bytes_text(cells[0].live_bytes)} live. "
        "Outermost callers are at the top; allocators and wrappers are left out."
    )
    if rest:
        caption += f" The {_SITES_DRAWN} largest sites are drawn one by one."
    tiles = [
        Tile(cell.label, cell.parent, cell.live_bytes, _colour(cell), (cell.label, cell.place, _held(cell)))
        for cell in cells
    ]
    return icicle_chart("live-bytes", "Live bytes by stack", caption, tiles)


class Tile(NamedTuple):
    """A cell of an icicle. Parents stand before their children; the first has no parent.

    Args:
        parent: Index of the cell that it lies in.
        width: Its share: that of its children together, or more.
        colour: Name in the palette.
        hover: Lines that are shown when it is pointed at; empty ones are left out.
    """

    label: str
    parent: int | None
    width: int
    colour: str
    hover: tuple[str, ...]


def icicle_chart(key: str, title: str, caption: str, tiles: Sequence[Tile]) -> Chart:
    """The chart of these cells, as high as they are deep."""
    depths: list[int] = []
    for tile in tiles:
        depths.append(0 if tile.parent is None else depths[tile.parent] + 1)
    height = min(max(34 * (max(depths) + 1), 150), 900)
    layout = base_layout(height)
    layout["margin"] = {"l": 0, "r": 0, "t": 0, "b": 0}
    layout["uniformtext"] = {"minsize": 10, "mode": "hide"}
    return Chart(
        key=key, title=title, caption=caption, height_px=height, spec={"data": [_trace(tiles)], "layout": layout}
    )


def _add_stack(cells: list[_Cell], index: dict[tuple[int, object], int], finding: Finding, site: Site) -> None:
    frames = list(site.frames)
    while frames and frames[0].wrapper:
        frames.pop(0)
    path: list[tuple[object, str, str]] = [
        ((frame.function, frame.file, frame.line, frame.pc if frame.function is None else None), *_frame_texts(frame))
        for frame in reversed(frames[:_FRAMES_DRAWN])
    ]
    outer = len(frames) - _FRAMES_DRAWN
    if outer > 0:
        path.insert(0, (("outer", outer), f"{plural(outer, 'outer frame')} not drawn", ""))
    if not path:
        path = [(("none",), "no backtrace" if not site.frames else "allocator only", "")]
    site_class = _colour_class(finding)
    at = 0
    for step in (None, *path):
        if step is not None:
            key, label, place = step
            child = index.get((at, key))
            if child is None:
                child = len(cells)
                index[at, key] = child
                cells.append(_Cell(label=label, parent=at, place=place))
            at = child
        cells[at].live_bytes += site.live_bytes
        cells[at].live_blocks += site.live_blocks
        cells[at].classes.add(site_class)


def _frame_texts(frame: Frame) -> tuple[str, str]:
    label = wording.frame_label(frame) if frame.function else format_address(frame.pc)
    place = wording.place_text(frame.file, frame.line, parts=2)
    return label, f"{place} (inlined)" if frame.inlined else place


def _colour_class(finding: Finding) -> str:
    if finding.finding_class in wording.GROWING:
        return "leak"
    return "undecided" if finding.finding_class == "undecided" else "innocent"


def _colour(cell: _Cell) -> str:
    return f"{next(iter(cell.classes))}-cell" if len(cell.classes) == 1 and cell.parent is not None else "shared-cell"


def _held(cell: _Cell) -> str:
    return f"{plural(cell.live_blocks, 'block')}, {wording.bytes_text(cell.live_bytes)}"


def _trace(tiles: Sequence[Tile]) -> Spec:
    return {
        "type": "icicle",
        "ids": [str(number) for number in range(len(tiles))],
        "labels": [chart_label(tile.label) for tile in tiles],
        "parents": ["" if tile.parent is None else str(tile.parent) for tile in tiles],
        "values": [tile.width for tile in tiles],
        "branchvalues": "total",
        "sort": True,
        "tiling": {"orientation": "v", "pad": 1},
        "pathbar": {"visible": False},
        "marker": {
            "colors": [f"var(--{tile.colour})" for tile in tiles],
            "line": {"width": 1, "color": "var(--paper)"},
        },
        "textinfo": "label",
        "textposition": "middle left",
        "textfont": {"color": "var(--ink)", "size": 12},
        "leaf": {"opacity": 1},
        "hovertext": ["<br>".join(chart_label(line) for line in tile.hover if line) for tile in tiles],
        "hoverinfo": "text",
    }
