"""The trace, read with the protos that Perfetto itself publishes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import strategies
from hypothesis import HealthCheck, given, settings
from perfetto.protos.perfetto.trace import perfetto_trace_pb2
from unit.reports import samples

from heaptrail.reports.perfetto import PerfettoRenderer

if TYPE_CHECKING:
    from collections.abc import Callable

    from heaptrail.model.report import Report

GOLDENS = Path(__file__).resolve().parents[2] / "golden" / "reports" / "perfetto"
SLICE_BEGIN, SLICE_END, INSTANT, COUNTER = 1, 2, 3, 4


def trace_of(report: Report) -> Any:
    trace = perfetto_trace_pb2.Trace()
    trace.ParseFromString(PerfettoRenderer().render(report))
    known = trace.SerializeToString()
    trace.DiscardUnknownFields()
    assert trace.SerializeToString() == known, "every field is one of Perfetto's"
    return trace


def events(trace: Any, kind: int) -> list[Any]:
    return [packet for packet in trace.packet if packet.HasField("track_event") and packet.track_event.type == kind]


@pytest.mark.parametrize("sample", ["leak", "bare_log", "empty"])
def test_the_trace_of_a_sample_stays_the_same(sample: str, golden: Callable[[Path, str], bool]) -> None:
    assert golden(GOLDENS / f"{sample}.txt", str(trace_of(samples.SAMPLES[sample]())))


def test_each_boot_has_its_own_curve_of_free_heap() -> None:
    trace = trace_of(samples.two_boots())

    names = {p.track_descriptor.uuid: p.track_descriptor.name for p in trace.packet if p.HasField("track_descriptor")}
    counted = events(trace, COUNTER)
    assert [names[uuid] for uuid in dict.fromkeys(p.track_event.track_uuid for p in counted)] == [
        "free heap, boot 1",
        "free heap, boot 2",
    ]
    points = samples.two_boots().series[0].points
    assert [packet.track_event.counter_value for packet in counted] == [point.free_bytes for point in points]
    assert counted[1].timestamp - counted[0].timestamp == pytest.approx(9.4e9)


def test_cycles_are_slices_that_close_and_boots_are_instants() -> None:
    trace = trace_of(samples.two_boots())

    begins, ends = events(trace, SLICE_BEGIN), events(trace, SLICE_END)
    assert (begins[0].track_event.name, len(begins)) == ("cycle 0", 41)
    assert all(begin.timestamp <= end.timestamp for begin, end in zip(begins, ends, strict=True))
    assert [packet.track_event.name for packet in events(trace, INSTANT)] == ["boot 1", "boot 2"]


def test_the_profile_holds_the_live_bytes_of_each_site_with_its_stack() -> None:
    trace = trace_of(samples.leak())

    (interned,) = [packet.interned_data for packet in trace.packet if packet.HasField("interned_data")]
    (dump,) = [p.profile_packet.process_dumps[0] for p in trace.packet if p.HasField("profile_packet")]
    names = {name.iid: name.str.decode() for name in interned.function_names}
    frames = {frame.iid: names[frame.function_name_id] for frame in interned.frames}
    stacks = {stack.iid: [frames[number] for number in stack.frame_ids] for stack in interned.callstacks}
    first = dump.samples[0]
    assert (first.self_allocated, first.alloc_count) == (46_080, 12)
    assert stacks[first.callstack_id][0] == "[leak]"
    assert stacks[first.callstack_id][-3:] == [
        "softvol_ap_update_mode softvolume.c:250",
        "pvPortCalloc heap_4.c:577",
        "pvPortMalloc heap_4.c:658",
    ]


def test_a_log_without_times_says_so() -> None:
    trace = trace_of(samples.bare_log())

    assert trace.packet[0].track_descriptor.name == "heaptrail, a reading a second"
    assert [packet.timestamp for packet in events(trace, COUNTER)] == [0, 1_000_000_000]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(strategies.reports)
def test_any_report_makes_a_trace_that_perfetto_can_parse(report: Report) -> None:
    assert len(trace_of(report).packet) >= 5
