"""The free-heap curve: readings, fitted lines, resets, and the spans in which the tracer was on."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

from heaptrail.reports import wording
from heaptrail.reports.axis import boot_starts, curve_axis
from heaptrail.reports.figure import Chart, Spec, base_layout
from heaptrail.reports.untrusted import printable
from heaptrail.units import plural

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from heaptrail.model.report import Point, Series
    from heaptrail.reports.axis import CurveAxis

_HEIGHT_PX: Final = 360
_MARKERS_DRAWN: Final = 400
"""With more readings the dots touch and hide the line."""
_BOOTS_NAMED: Final = 20
_BOOTS_DRAWN: Final = 500
"""A board in a reset loop: more lines than this are a grey area."""


def curve(series: Series, *, key: str, named: bool) -> Chart:
    """The chart of one heap that has at least one reading; `named` says whether the heap's name is in the title."""
    axis = curve_axis(series)
    title = "Free heap"
    if named:
        title += f": {printable(series.heap, 60)}" if series.heap else ": unnamed heap"
    traces = [
        *_fit_traces(series, axis),
        *_line_traces(series, axis, "largest_free_bytes", "largest free block", {"dash": "dot", "color": "var(--low)"}),
        *_line_traces(series, axis, "min_free_bytes", "lowest free so far", {"dash": "dash", "color": "var(--low)"}),
        *_line_traces(series, axis, "free_bytes", "free", {"width": 2, "color": "var(--free)"}, markers=True),
    ]
    spans = list(_tracer_spans(series.points, axis))
    shapes = [_span_shape(left, right) for left, right in spans]
    if spans:
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": "tracer on",
                "legendrank": 4,
                "x": [None],
                "y": [None],
                "marker": {"symbol": "square", "size": 12, "color": "var(--traced)"},
            }
        )
    starts = boot_starts(axis)[:_BOOTS_DRAWN]
    layout = base_layout(_HEIGHT_PX)
    layout["margin"] = {**layout["margin"], "t": 30}  # room for the buttons
    layout["shapes"] = [*shapes, *[_boot_shape(x) for _, x in starts]]
    layout["annotations"] = [_boot_note(boot, x) for boot, x in starts] if len(starts) <= _BOOTS_NAMED else []
    layout["xaxis"] = {**_axis_style(axis.title), **axis.ticks}
    layout["yaxis"] = {**_axis_style("free bytes"), "tickformat": ",d", "range": _y_range(series)}
    layout["legend"] = {
        "orientation": "h",
        "x": 0,
        "y": 0,
        "yref": "container",
        "yanchor": "bottom",
        "font": {"color": "var(--muted)"},
    }
    layout["hovermode"] = "closest"
    return Chart(
        key=key,
        title=title,
        caption=_curve_caption(series, axis),
        height_px=_HEIGHT_PX,
        spec={"data": traces, "layout": layout},
    )


def _curve_caption(series: Series, axis: CurveAxis) -> str:
    parts = [f"{plural(series.readings, 'reading')}"]
    if series.readings > len(series.points):
        parts[0] += f", {len(series.points):,} of them drawn (the lowest and highest of each stretch)"
    if series.total_bytes is not None:
        parts.append(f"of a heap of {wording.bytes_text(series.total_bytes)}")
    parts.append(axis.remark)
    undrawn = sum(fit.x_unit != axis.unit for fit in series.fits)
    if undrawn:
        parts.append(f"{plural(undrawn, 'fit')} in another unit not drawn")
    return "; ".join(part for part in parts if part) + ". The vertical axis does not start at zero."


def _axis_style(title: str) -> Spec:
    return {
        "title": {"text": title, "font": {"size": 12, "color": "var(--muted)"}, "standoff": 8},
        "gridcolor": "var(--rule)",
        "linecolor": "var(--rule)",
        "tickfont": {"color": "var(--muted)"},
        "zeroline": False,
        "automargin": True,
    }


def _line_traces(
    series: Series, axis: CurveAxis, field: str, name: str, line: Spec, *, markers: bool = False
) -> list[Spec]:
    """One line, broken at every reset; none where no reading has the field."""
    points = [point for point in series.points if getattr(point, field) is not None]
    if not points:
        return []
    broken: list[Point | None] = [points[0]]
    for before, point in pairwise(points):
        broken.extend((None, point) if before.boot != point.boot else (point,))
    several = len(axis.boots) > 1
    return [
        {
            "type": "scatter",
            "mode": "lines+markers" if markers and len(points) <= _MARKERS_DRAWN else "lines",
            "name": name,
            "legendrank": 1 if markers else 3,
            "x": [None if p is None else axis.x(p) for p in broken],
            "y": [None if p is None else getattr(p, field) for p in broken],
            "text": ["" if p is None else _point_text(p, several=several) for p in broken],
            "hovertemplate": "%{y:,d} B " + name + "<br>%{text}<extra></extra>",
            "line": {"width": 1.25, **line},
            "marker": {"size": 5},
        }
    ]


def _point_text(point: Point, *, several: bool) -> str:
    parts = [f"boot {point.boot}"] if several else []
    if point.cycle is not None:
        parts.append(f"after cycle {point.cycle:,}" if point.cycle else "before the first cycle ends")
    parts.append(f"line {point.line:,}")
    return ", ".join(parts)


def _fit_traces(series: Series, axis: CurveAxis) -> Iterator[Spec]:
    first = True
    for fit in series.fits:
        ends = [axis.of_fit(fit.boot, x) for x in (fit.x_from, fit.x_to)]
        if fit.x_unit != axis.unit or None in ends:
            continue
        yield {
            "type": "scatter",
            "mode": "lines",
            "name": "fitted line",
            "legendgroup": "fit",
            "legendrank": 2,
            "showlegend": first,
            "x": ends,
            "y": [fit.intercept_bytes + fit.slope_bytes * x for x in (fit.x_from, fit.x_to)],
            "line": {"width": 7, "color": "var(--fit)"},
            "opacity": 0.45,
            "hovertemplate": f"{fit.slope_bytes:+,.1f} B per {fit.x_unit}<extra>fitted line</extra>",
        }
        first = False


def _tracer_spans(points: Sequence[Point], axis: CurveAxis) -> Iterator[tuple[float, float]]:
    """From the first to the last reading of each run that was taken with the tracer on."""
    run: list[Point] = []
    for point in points:
        if run and (point.tracer != "on" or point.boot != run[0].boot):
            yield axis.x(run[0]), axis.x(run[-1])
            run = []
        if point.tracer == "on":
            run.append(point)
    if run:
        yield axis.x(run[0]), axis.x(run[-1])


def _span_shape(left: float, right: float) -> Spec:
    return {
        "type": "rect",
        "x0": left,
        "x1": right,
        "y0": 0,
        "y1": 1,
        "yref": "paper",
        "layer": "below",
        "fillcolor": "var(--traced)",
        "line": {"width": 1, "color": "var(--traced)"},
    }


def _boot_shape(x: float) -> Spec:
    return {
        "type": "line",
        "x0": x,
        "x1": x,
        "y0": 0,
        "y1": 1,
        "yref": "paper",
        "line": {"width": 1, "dash": "dot", "color": "var(--muted)"},
    }


def _boot_note(boot: int, x: float) -> Spec:
    return {
        "x": x,
        "y": 1,
        "yref": "paper",
        "text": f"boot {boot}",
        "showarrow": False,
        "xanchor": "left",
        "yanchor": "top",
        "xshift": 3,
        "font": {"size": 11, "color": "var(--muted)"},
    }


def _y_range(series: Series) -> list[float]:
    """All readings with some air; noise of a few bytes is not blown up to a slope that is none."""
    values = [
        value
        for point in series.points
        for value in (point.free_bytes, point.min_free_bytes, point.largest_free_bytes)
        if value is not None
    ]
    low, high = min(values), max(values)
    room = max((high - low) * 0.06, abs(high) * 0.02, 64.0)
    return [max(low - room, 0.0) if low >= 0 else low - room, high + room]
