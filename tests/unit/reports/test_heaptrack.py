"""What heaptrack says of our file: its leaks are ours, its peak is what is live, its flame graph has our stacks."""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import strategies
from hypothesis import HealthCheck, given, settings
from unit.reports import samples

from heaptrail.reports.heaptrack import HeaptrackRenderer

if TYPE_CHECKING:
    from collections.abc import Callable

    from heaptrail.model.report import Report

GOLDENS = Path(__file__).resolve().parents[2] / "golden" / "reports" / "heaptrack"
needs_heaptrack = pytest.mark.skipif(
    shutil.which("heaptrack_print") is None, reason="heaptrack_print is not here (apt-get install heaptrack)"
)


def text_of(report: Report) -> str:
    return gzip.decompress(HeaptrackRenderer().render(report)).decode()


def heaptrack_print(path: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["heaptrack_print", "-f", str(path), *arguments], capture_output=True, text=True, timeout=60, check=True
    )
    assert "failed to parse" not in done.stderr
    return done.stdout


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[str], Path]:
    def save(sample: str) -> Path:
        path = tmp_path / f"{sample}.heaptrack.gz"
        path.write_bytes(HeaptrackRenderer().render(getattr(samples, sample)()))
        return path

    return save


@pytest.mark.parametrize("sample", ["leak", "no_leak", "bare_log", "empty", "hostile"])
def test_the_file_of_a_sample_stays_the_same(sample: str, golden: Callable[[Path, str], bool]) -> None:
    assert golden(GOLDENS / f"{sample}.txt", text_of(samples.SAMPLES[sample]()))


@needs_heaptrack
def test_heaptrack_finds_our_leaks_and_nothing_else(saved: Callable[[str], Path]) -> None:
    said = heaptrack_print(saved("leak"), "-l", "1")

    assert re.search(r"total memory leaked: 92.16K\b", said)
    assert re.search(r"peak heap memory consumption: 129.08K\b", said)
    leaks = said[said.index("MEMORY LEAKS") :]
    assert "46.08K leaked over 12 calls from" in leaks
    assert re.search(r"softvol_ap_update_mode\s+at .*softvolume.c:250", leaks)
    assert "packet_cache_grow" not in leaks


@needs_heaptrack
def test_heaptracks_flame_graph_has_our_stacks_and_bytes(saved: Callable[[str], Path], tmp_path: Path) -> None:
    flames = tmp_path / "flames.txt"
    heaptrack_print(saved("leak"), "-F", str(flames), "--flamegraph-cost-type", "leaked")

    counted = dict(line.rsplit(" ", 1) for line in flames.read_text().splitlines())
    leaked = {stack: int(count) for stack, count in counted.items() if int(count)}
    assert sorted(leaked.values()) == [46_080, 46_080]
    ours = "RTSoundDeviceStart;_AudioTrackStart;softvol_ap_update_mode;pvPortCalloc;pvPortMalloc"
    assert any(ours in re.sub(r" \([^()]*\)", "", stack) for stack in leaked), "heaptrack adds the files"


@needs_heaptrack
def test_heaptrack_calls_nothing_leaked_where_nothing_leaks(saved: Callable[[str], Path]) -> None:
    assert re.search(r"total memory leaked: 0B", heaptrack_print(saved("no_leak")))


@needs_heaptrack
@pytest.mark.parametrize("sample", ["hostile", "empty", "bare_log"])
def test_heaptrack_reads_any_sample(saved: Callable[[str], Path], sample: str) -> None:
    assert "total memory leaked" in heaptrack_print(saved(sample))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(strategies.reports)
def test_every_line_is_one_that_heaptrack_knows(report: Report) -> None:
    lines = text_of(report).splitlines()

    known = re.compile(r"v 10400 2|[sX] \S.*|X heaptrail .*|[iat](?: [0-9a-f]+){2,}|[-+c] [0-9a-f]+|I 1000 0|s .+")
    assert [line for line in lines if not known.fullmatch(line)] == []
    assert all(character.isprintable() for line in lines for character in line)
