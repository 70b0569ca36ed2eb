"""The console as lines: nothing is missed however the bytes come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaptrail.procedures.lines import KEPT_LINES, LineWatcher

LOG = (
    "c906>free\r\nplayback round 1 complete\r\n"
    "\x1b[32mplayback round 2 complete\x1b[0m\r\nc906>playback round 3 complete\r\n"
    "softvol: no memory\r\n*** board boot ***\r\n內存 \r\nc906>"
).encode()


def watcher() -> LineWatcher:
    return LineWatcher(cycle_mark=r"playback round \d+ complete", boot_mark=r"\*\*\* board boot")


@given(st.lists(st.integers(0, len(LOG)), max_size=12).map(sorted))
def test_how_the_bytes_are_cut_makes_no_difference(cuts: list[int]) -> None:
    lines = watcher()
    for start, end in zip([0, *cuts], [*cuts, len(LOG)], strict=True):
        lines.feed(LOG[start:end])

    assert (lines.cycles, lines.boots, lines.count) == (3, 1, 7)
    assert lines.out_of_memory == "softvol: no memory"
    assert lines.partial == "c906>"
    assert lines.since(1)[:2] == ["playback round 1 complete", "playback round 2 complete"]


@pytest.mark.parametrize(
    "line", ["pvPortMalloc failed", "malloc(3840) failed", "ERROR: Out of memory", "track: no memory for the buffer"]
)
def test_a_line_that_tells_of_memory_running_out_is_kept(line: str) -> None:
    lines = watcher()
    lines.feed(f"{line}\n".encode())

    assert lines.out_of_memory == line


@pytest.mark.parametrize(
    "line", ["    memleak: 3 allocations failed", "no memory leak found here? yes", "Min Free : 0"]
)
def test_the_tracers_own_words_are_no_failure_of_this_moment(line: str) -> None:
    lines = watcher()
    lines.feed(f"{line}\n".encode())

    assert lines.out_of_memory is None


def test_a_workload_that_goes_on_has_outlived_a_failed_allocation() -> None:
    lines = watcher()
    lines.feed(b"softvol: no memory\nplayback round 4 complete\n")
    assert lines.out_of_memory is None
    lines.feed(b"playback round 5 complete\nsoftvol: no memory\n")
    assert lines.out_of_memory == "softvol: no memory"


def test_a_known_banner_is_a_boot_without_a_mark() -> None:
    lines = LineWatcher(cycle_mark=None, boot_mark=None)
    lines.feed(b"ESP-ROM:esp32c3-api1-20210207\r\n")

    assert lines.boots == 1


def test_counts_begin_anew_with_a_boot() -> None:
    lines = watcher()
    lines.feed(LOG)
    lines.begin_boot()

    assert (lines.cycles, lines.out_of_memory) == (0, None)


def test_an_endless_line_and_an_endless_log_cost_no_memory() -> None:
    lines = watcher()
    lines.feed(b"x" * 1_000_000)
    lines.feed(b"\n" * (3 * KEPT_LINES))

    assert len(lines.since(0)) == KEPT_LINES
    assert len(lines.partial) < 20_000


@pytest.mark.parametrize(
    ("data", "noise"),
    [
        (b"\xfe\x00\xf8\x80\x00\xfe\x1c\xc0\x00\x80", True),
        ("c906>內存 ok\r\n\x1b[0m".encode(), False),
        (b"\xff", False),
        (b"", False),
    ],
)
def test_noise_is_told_from_text(data: bytes, *, noise: bool) -> None:
    lines = watcher()
    lines.feed(data)

    assert lines.looks_like_noise() == noise
