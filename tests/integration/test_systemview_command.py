"""`heaptrail read`, `trace` and `parse` on SystemView recordings of a device of our own."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec
import pytest
from wire.systemview_encoder import leaking

from heaptrail.model.report import Report

if TYPE_CHECKING:
    from pathlib import Path


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "heaptrail", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def cores(tmp_path: Path) -> tuple[Path, Path]:
    paths = tmp_path / "heap_log0.svdat", tmp_path / "heap_log1.svdat"
    for path, data in zip(paths, leaking(48, said="round {} done").files(), strict=True):
        path.write_bytes(data)
    return paths


@pytest.mark.parametrize("command", ["read", "trace"])
def test_the_leaking_site_stands_first_and_set_up_is_one_time(command: str, cores: tuple[Path, Path]) -> None:
    ended = run(command, *cores, "--format", "json")

    assert ended.returncode == 1, ended.stderr
    report = msgspec.json.decode(ended.stdout, type=Report)
    assert [(each.finding_class, each.live_blocks) for each in report.findings] == [("leak", 48), ("one_time", 3)]
    assert report.findings[0].tasks == ("worker",)
    assert report.cycles is None
    assert [each.name for each in report.provenance.captures] == ["heap_log0.svdat", "heap_log1.svdat"]


def test_a_cycle_mark_in_the_lines_sent_to_the_host_gives_a_rate(cores: tuple[Path, Path]) -> None:
    ended = run("read", *cores, "--cycle-mark", "round .* done", "--format", "json")

    report = msgspec.json.decode(ended.stdout, type=Report)
    assert (report.verdict, report.cycles) == ("leak", 48)
    assert report.findings[0].per_cycle_blocks == pytest.approx(1, abs=0.05)


def test_parse_prints_each_allocation_with_time_and_task(cores: tuple[Path, Path]) -> None:
    ended = run("parse", cores[0])

    assert ended.returncode == 0, ended.stderr
    found = [json.loads(line) for line in ended.stdout.splitlines()]
    event = next(each for each in found if each["kind"] == "event")
    assert (event["op"], event["task"], event["t_s"], event["dialect"]) == ("alloc", "main", 0.00002, "systemview")


def test_a_recording_and_a_log_in_one_report_are_refused(cores: tuple[Path, Path], tmp_path: Path) -> None:
    log = tmp_path / "console.log"
    log.write_text("Total Heap Size :  1907128 Bytes\n")

    ended = run("read", cores[0], log)

    assert ended.returncode == 2
    assert "heap_log0.svdat is a SystemView recording and console.log is not" in ended.stderr


def test_two_files_of_the_agent_s_stream_are_refused(tmp_path: Path) -> None:
    for name in ("a.bin", "b.bin"):
        (tmp_path / name).write_bytes(b"\0" * 64)

    ended = run("trace", tmp_path / "a.bin", tmp_path / "b.bin")

    assert ended.returncode == 2
    assert "b.bin is a second file" in ended.stderr
