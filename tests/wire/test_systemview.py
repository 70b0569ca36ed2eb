"""SystemView recordings from a device of our own, in each kind of file, whole and damaged."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wire.systemview_encoder import FREER, HZ, MAIN, WORKER, Device, leaking

from heaptrail.errors import FormatError, UsageError
from heaptrail.model.observations import Event, Mark, Task
from heaptrail.model.stream import Ending, Kind
from heaptrail.wire.systemview import looks_like_recording, observations_of, read_recording, stream_of

if TYPE_CHECKING:
    from heaptrail.wire.systemview.recording import Recording


def read(*files: bytes) -> Recording:
    return read_recording([(f"heap_log{core}.svdat", data) for core, data in enumerate(files)])


def told(recording: Recording) -> list[tuple[object, ...]]:
    return [
        (each.what, each.ticks, each.task, each.address, each.size_bytes, each.callers) for each in recording.moments
    ]


def test_every_event_is_read_with_its_task_and_time() -> None:
    device = leaking(2)

    assert told(read(*device.files()))[3:] == [
        ("alloc", 1060, "worker", 0x3FFC_0000, 40, (0x400D_3000, 0x400D_4000)),
        ("alloc", 1060, "worker", 0x3FFE_0000, 80, (0x400D_3008, 0x400D_4000)),
        ("free", 1067, "freer", 0x3FFE_0000, 0, (0x400D_5000,)),
        ("alloc", 2067, "worker", 0x3FFC_0040, 40, (0x400D_3000, 0x400D_4000)),
        ("alloc", 2067, "worker", 0x3FFE_0000, 80, (0x400D_3008, 0x400D_4000)),
        ("free", 2074, "freer", 0x3FFE_0000, 0, (0x400D_5000,)),
    ]


def test_the_three_kinds_of_files_say_the_same() -> None:
    device = leaking(30)
    expected = told(read(*device.files()))

    assert len(expected) == 93
    assert told(read(device.one_file())) == expected
    assert told(read(device.one_file_of_parts())) == expected
    assert all(looks_like_recording(data[:256]) for data in (*device.files(), device.one_file()))


def test_lives_are_put_together_over_both_cores() -> None:
    stream = stream_of(read(*leaking(30).files()))

    assert stream.ticks_per_s == HZ
    assert np.bincount(stream.lifetimes.ending).tolist() == [33, 30]
    assert stream.lifetimes.unmatched_frees == 0
    assert {task.name for task in stream.tasks.values()} == {"main", "worker", "freer"}
    assert stream.problems == ()


def test_what_came_before_the_first_switch_belongs_to_the_task_that_is_left_then() -> None:
    device = Device()
    device.task(MAIN, "main")
    device.alloc(0, 0x3FFB_0000, 8, 0x400D_1000)
    device.wait(5)
    device.leaves(0, MAIN)
    device.alloc(0, 0x3FFB_0010, 8, 0x400D_1000)

    assert [each.task for each in read(*device.files()).moments] == ["main", "IDLE0"]


def test_an_interrupt_allocates_in_its_own_name() -> None:
    device = Device()
    device.task(WORKER, "worker")
    device.runs(0, WORKER)
    device.send(0, 2, 15)
    device.alloc(0, 0x3FFB_0000, 8, 0x400D_1000)
    device.send(0, 3)
    device.alloc(0, 0x3FFB_0010, 8, 0x400D_1000)

    assert [each.task for each in read(device.one_file()).moments] == ["ISR Systick", "worker"]


def test_a_task_without_a_name_goes_by_its_number() -> None:
    device = Device()
    device.runs(0, 0x77)
    device.alloc(0, 0x3FFB_0000, 8, 0x400D_1000)

    assert [each.task for each in read(*device.files()).moments] == ["task 0x77"]


def test_a_recording_that_begins_late_is_read_without_its_clock() -> None:
    device = Device(described=False)
    device.alloc(0, 0x3FFB_0000, 8, 0x400D_1000)

    recording = read(*device.files())

    assert (recording.ticks_per_s, len(recording.moments)) == (None, 1)
    assert [each.t_s for each in observations_of(recording)] == [None]


def test_dropped_packets_are_told_once_though_both_files_say_it() -> None:
    device = leaking(10)
    device.send(0, 1, 17)

    stream = stream_of(read(*device.files()))

    assert stream.counts.lost_events == 17
    assert [problem.what for problem in stream.problems] == ["missing_records"]
    assert "17 packets" in stream.problems[0].text


def test_a_failed_allocation_is_no_block() -> None:
    device = leaking(10)
    device.alloc(0, 0, 100_000, 0x400D_3000)

    stream = stream_of(read(*device.files()))

    assert int((stream.events.kind == Kind.FAILED).sum()) == 1
    assert len(stream.lifetimes.born) == 23


def test_a_line_sent_to_the_host_can_end_a_cycle() -> None:
    stream = stream_of(read(*leaking(9, said="round {} done").files()), re.compile("round .* done"))

    assert int((stream.events.kind == Kind.MARK).sum()) == 9
    unmatched = stream_of(read(*leaking(9).files()), re.compile("round .* done"))
    assert [problem.what for problem in unmatched.problems] == ["missing_marks"]


def test_a_recording_that_was_started_twice_is_two_runs() -> None:
    device = leaking(10)
    device.start()
    device.alloc(0, 0x3FFB_0000, 8, 0x400D_1000)

    recording = read(*device.files())
    stream = stream_of(recording)

    assert (recording.runs, stream.counts.restarts) == (2, 1)
    assert int((stream.lifetimes.ending == Ending.LIVE).sum()) == 1
    assert [each.label for each in observations_of(recording) if isinstance(each, Mark)] == ["recording started"]


def test_observations_carry_what_the_packets_say() -> None:
    found = list(observations_of(read(*leaking(2).files())))

    event = next(each for each in found if isinstance(each, Event))
    assert (event.op, event.task, event.size_bytes, event.t_s) == ("alloc", "main", 2500, 20 / HZ)
    assert [(frame.pc, frame.kind) for frame in event.frames] == [(0x400D_1000, "return"), (0x400D_2000, "return")]
    assert [(each.name, each.stack_size_bytes) for each in found if isinstance(each, Task)] == [
        ("main", 2048),
        ("worker", 2048),
        ("freer", 2048),
    ]


# --- files that are not as they should be ---


def test_files_of_two_recordings_are_refused() -> None:
    other = leaking(5)
    other.sent = [each._replace(ticks=each.ticks + 12345) for each in other.sent]

    with pytest.raises(UsageError, match=r"heap_log1\.svdat and heap_log0\.svdat are not of one recording"):
        read(leaking(5).files()[0], other.files()[1])


def test_the_same_file_twice_is_refused() -> None:
    with pytest.raises(UsageError, match=r"heap_log1\.svdat holds the same"):
        read(*[leaking(5).files()[0]] * 2)


def test_a_recording_without_heap_events_says_what_to_switch_on() -> None:
    with pytest.raises(FormatError, match="no allocation and no free in 5 packets") as caught:
        stream_of(read(Device().one_file()))
    assert "heap_trace_start(HEAP_TRACE_ALL)" in caught.value.try_this


def test_a_torn_last_packet_is_told_and_the_rest_is_read() -> None:
    data = leaking(20).one_file()

    recording = read(data[:-3])

    assert (recording.cut_files, recording.damaged) == (1, 0)
    assert len(recording.moments) == 62
    assert [problem.what for problem in stream_of(recording).problems] == ["cut_capture"]


def test_damage_in_the_middle_is_told_and_reading_gets_in_step_again() -> None:
    data = bytearray(leaking(200).one_file())
    middle = len(data) // 2
    data[middle : middle + 40] = b"\xff" * 40

    recording = read(bytes(data))

    assert recording.damaged >= 1
    assert 560 < len(recording.moments) < 603
    whole = told(read(leaking(200).one_file()))
    assert sum(each[0] == "alloc" and each[3:] in {w[3:] for w in whole} for each in told(recording)) > 370
    assert stream_of(recording).counts.lost_events > 0


def test_a_module_that_claims_the_system_s_own_events_is_not_believed() -> None:
    device = Device()
    device.send(0, 22, 0, 22, "M=ESP32 SystemView Heap Tracing Module")
    device.alloc(0, 0x3FFB_0000, 8, 0x400D_1000)

    assert len(read(device.one_file()).moments) == 1


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_damage_is_read_to_the_end(data: st.DataObject) -> None:
    good = leaking(data.draw(st.integers(0, 20))).one_file()
    bad = bytearray(good)
    for _ in range(data.draw(st.integers(0, 5))):
        at = data.draw(st.integers(0, len(bad) - 1))
        bad[at : at + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=9))
    recording = read(bytes(bad[: data.draw(st.integers(20, len(bad)))]))

    assert recording.packets <= len(bad)
    assert all(each.size_bytes < 1 << 32 and each.address < 1 << 32 for each in recording.moments)
    assert len(list(observations_of(recording))) >= len(recording.moments)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_read_to_the_end(data: bytes) -> None:
    read(b";\n; SEGGER SystemViewer\n;\n" + bytes(10) + data)
    assert looks_like_recording(data) in (True, False)


def test_more_events_than_the_limit_are_counted_and_said() -> None:
    recording = read_recording([("a.svdat", leaking(20).one_file())], most_moments=10)

    assert (len(recording.moments), recording.omitted) == (10, 53)
    assert FREER not in {each.address for each in recording.moments}
    assert [problem.what for problem in stream_of(recording).problems] == ["too_many"]
