"""The figures of a report, and plotly's only door.

Figures are built as plotly's own JSON, so that a page is made without plotly's Python objects; `report_figures` gives
the same as plotly figures, for a notebook.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from heaptrail.reports.curve import curve
from heaptrail.reports.figure import PALETTE
from heaptrail.reports.icicle import icicle

if TYPE_CHECKING:
    import plotly.graph_objects

    from heaptrail.model.report import Report
    from heaptrail.reports.figure import Chart

_SERIES_DRAWN: Final = 4


def plotly_script() -> str:
    """The whole of plotly.js, as the installed package ships it."""
    from plotly.offline import get_plotlyjs  # noqa: PLC0415 - five megabytes are read only when a page is made

    script: str = get_plotlyjs()
    return script


def report_figures(report: Report) -> dict[str, plotly.graph_objects.Figure]:
    """The report's charts as plotly figures in light colours, for notebooks and other programs, by their key."""
    from plotly.graph_objects import Figure  # noqa: PLC0415 - a page does not need plotly's Python objects

    return {chart.key: Figure(_in_light(chart.spec)) for chart in report_charts(report)}


def report_charts(report: Report) -> tuple[Chart, ...]:
    """The free-heap curve of each heap that has readings, then the live bytes by stack."""
    drawn = [series for series in report.series if series.points][:_SERIES_DRAWN]
    curves = [
        curve(series, key="free-heap" if number == 1 else f"free-heap-{number}", named=len(report.series) > 1)
        for number, series in enumerate(drawn, start=1)
    ]
    live = icicle(report)
    return (*curves, *([live] if live else []))


def _in_light(value: Any) -> Any:  # noqa: ANN401 - the JSON types
    if isinstance(value, str) and value.startswith("var(--"):
        return PALETTE[value[6:-1]][0]
    if isinstance(value, list):
        return [_in_light(item) for item in value]
    if isinstance(value, dict):
        return {key: _in_light(item) for key, item in value.items()}
    return value
