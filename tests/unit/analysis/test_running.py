"""Readings before the workload's start and after its end are no part of the trend."""

from __future__ import annotations

from heaptrail.analysis.running import readings_while_running
from heaptrail.model.observations import HeapSample, Mark


def reading(line: int, boot: int = 1) -> HeapSample:
    return HeapSample(line=line, boot=boot, free_bytes=1000 - line)


def step(line: int, label: str, boot: int = 1) -> Mark:
    return Mark(line=line, boot=boot, what="step", label=label)


def test_only_readings_between_start_and_stop_are_kept() -> None:
    marks = (step(5, "workload start"), step(20, "tracer on"), step(30, "workload stop"))

    kept = readings_while_running([reading(1), reading(10), reading(25), reading(40)], marks)

    assert [sample.line for sample in kept] == [10, 25]


def test_a_capture_without_such_marks_is_kept_whole() -> None:
    samples = [reading(1), reading(10)]

    assert readings_while_running(samples, (step(5, "tracer on"),)) == samples


def test_each_boot_has_its_own_start() -> None:
    marks = (step(5, "workload start"), step(50, "workload start", boot=2))

    kept = readings_while_running([reading(1), reading(10), reading(45, 2), reading(60, 2)], marks)

    assert [(sample.boot, sample.line) for sample in kept] == [(1, 10), (2, 60)]


def test_when_nothing_would_be_left_everything_is_kept() -> None:
    samples = [reading(1), reading(2)]

    assert readings_while_running(samples, (step(5, "workload start"),)) == samples
