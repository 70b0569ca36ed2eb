"""The figures show what the report says: readings, resets, the tracer's spans, live bytes by stack."""

from __future__ import annotations

from typing import Any

import msgspec
from unit.reports import samples

from heaptrail.model.report import Point, Report
from heaptrail.model.verdict import Fit
from heaptrail.reports.charts import report_charts, report_figures


def _chart(report: Report, key: str = "free-heap") -> dict[str, Any]:
    return next(chart.spec for chart in report_charts(report) if chart.key == key)


def _trace(spec: dict[str, Any], name: str) -> dict[str, Any]:
    return next(trace for trace in spec["data"] if trace.get("name") == name)


def _with_points(points: tuple[Point, ...], fits: tuple[Fit, ...] = ()) -> Report:
    base = samples.leak()
    return msgspec.structs.replace(
        base, series=(msgspec.structs.replace(base.series[0], points=points, readings=len(points), fits=fits),)
    )


def test_plotly_takes_every_figure_and_finds_concrete_colours() -> None:
    for make in samples.SAMPLES.values():
        for figure in report_figures(make()).values():
            assert "var(--" not in figure.to_json()
    assert set(report_figures(samples.leak())) == {"free-heap", "live-bytes"}
    assert report_figures(samples.empty()) == {}


def test_the_curve_stands_over_cycles_where_they_are_known() -> None:
    spec = _chart(samples.leak())

    free = _trace(spec, "free")
    assert free["x"] == [float(cycle) for cycle in range(36)]
    assert free["y"][0] == 547_632
    assert spec["layout"]["xaxis"]["title"]["text"] == "cycles completed"


def test_the_fitted_line_passes_where_the_report_says() -> None:
    fit = _trace(_chart(samples.leak()), "fitted line")

    assert fit["x"] == [0.0, 19.0]
    assert fit["y"] == [547_640, 547_640 - 19 * 7_696]


def test_no_line_runs_over_a_reset() -> None:
    spec = _chart(samples.two_boots())

    free = _trace(spec, "free")
    assert free["x"].count(None) == 1
    gap = free["x"].index(None)
    assert free["y"][gap] is None
    assert free["x"][gap + 1] > free["x"][gap - 1], "the second boot stands beside the first"
    assert [note["text"] for note in spec["layout"]["annotations"]] == ["boot 1", "boot 2"]
    assert spec["layout"]["xaxis"]["ticktext"][-1] == "15", "cycles are counted anew after a reset"


def test_spans_with_the_tracer_on_are_shaded() -> None:
    shapes = _chart(samples.leak())["layout"]["shapes"]

    assert [(shape["x0"], shape["x1"]) for shape in shapes] == [(20.0, 31.0)]


def test_time_takes_the_place_of_cycles() -> None:
    points = tuple(Point(boot=1, line=n, free_bytes=1000 - n, t_s=3600.0 * n) for n in range(5))
    spec = _chart(_with_points(points))

    assert _trace(spec, "free")["x"] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert spec["layout"]["xaxis"]["title"]["text"] == "hours since the capture began"


def test_a_short_run_is_shown_in_minutes_with_its_fit() -> None:
    points = tuple(Point(boot=1, line=n, free_bytes=1000 - n, t_s=60.0 * n) for n in range(5))
    fit = Fit(boot=1, heap=None, x_unit="hour", x_from=0, x_to=0.5, intercept_bytes=1000, slope_bytes=-60)
    spec = _chart(_with_points(points, (fit,)))

    assert _trace(spec, "free")["x"] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert _trace(spec, "fitted line")["x"] == [0.0, 30.0]


def test_a_fit_in_another_unit_is_not_drawn_and_that_is_said() -> None:
    fit = Fit(boot=1, heap=None, x_unit="hour", x_from=0, x_to=1, intercept_bytes=1, slope_bytes=1)
    report = _with_points(samples.leak().series[0].points, (fit,))

    assert "1 fit in another unit not drawn" in report_charts(report)[0].caption


def test_lines_of_the_log_take_the_place_of_time() -> None:
    spec = _chart(samples.bare_log())

    assert _trace(spec, "free")["x"] == [33.0, 75.0]
    assert spec["layout"]["xaxis"]["title"]["text"] == "line of the log"


def test_noise_is_not_blown_up_to_a_slope() -> None:
    points = tuple(Point(boot=1, line=n, free_bytes=500_000 + n % 2 * 8, cycle=n) for n in range(9))
    low, high = _chart(_with_points(points))["layout"]["yaxis"]["range"]

    assert high - low > 10_000


def test_cycles_beyond_a_double_do_not_hang_the_ticks() -> None:
    points = tuple(Point(boot=b, line=1, free_bytes=1, cycle=2**63 + c) for b in (1, 2) for c in (0, 9))

    assert len(_chart(_with_points(points))["layout"]["xaxis"]["tickvals"]) <= 30


def test_a_board_in_a_reset_loop_still_has_a_chart() -> None:
    points = tuple(Point(boot=b, line=b, free_bytes=b, cycle=0) for b in range(1, 4_001))
    spec = _chart(_with_points(points))

    assert len(spec["data"]) == 1
    assert len(spec["layout"]["shapes"]) == 500


def test_the_icicle_adds_up_and_leaves_wrappers_out() -> None:
    (icicle,) = _chart(samples.leak(), "live-bytes")["data"]

    live = sum(finding.live_bytes for finding in samples.leak().findings)
    assert icicle["values"][0] == live
    assert "pvPortMalloc" not in icicle["labels"]
    start = icicle["labels"].index("_AudioTrackStart")
    children = [
        label for label, parent in zip(icicle["labels"], icicle["parents"], strict=True) if parent == str(start)
    ]
    assert children == ["softvol_ap_update_mode", "resample_ap_update_mode"]
    assert icicle["values"][start] == 24 * samples.BLOCK_BYTES
    assert icicle["marker"]["colors"][start] == "var(--leak-cell)"


def test_every_cell_of_the_icicle_is_as_wide_as_what_it_holds() -> None:
    (icicle,) = _chart(samples.huge(), "live-bytes")["data"]

    held: dict[str, int] = {}
    for parent, value in zip(icicle["parents"], icicle["values"], strict=True):
        held[parent] = held.get(parent, 0) + value
    assert all(icicle["values"][int(cell)] >= total for cell, total in held.items() if cell)
    assert len(icicle["ids"]) < 1_000


def test_what_is_too_small_to_draw_still_shows_that_it_grows() -> None:
    report = samples.huge(400)
    findings = tuple(msgspec.structs.replace(finding, finding_class="leak") for finding in report.findings)
    (icicle,) = _chart(msgspec.structs.replace(report, findings=findings), "live-bytes")["data"]

    small = icicle["labels"].index("102 smaller sites")
    assert icicle["marker"]["colors"][small] == "var(--leak-cell)"


def test_labels_from_the_device_are_no_markup_to_plotly() -> None:
    (icicle,) = _chart(samples.hostile(), "live-bytes")["data"]

    assert not any("<" in label for label in icicle["labels"])
    assert all(text.replace("<br>", "").count("<") == 0 for text in icicle["hovertext"])
