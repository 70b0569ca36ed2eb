"""Figures are said with their unit, and what is unknown is said to be unknown."""

from __future__ import annotations

import math
import shlex

import msgspec
import pytest
from unit.reports import samples

from heaptrail.model.report import CaptureInfo, Frame
from heaptrail.model.verdict import Books, Interval
from heaptrail.reports import wording


def _write(value: float) -> str:
    return f"{value:.0f} B"


@pytest.mark.parametrize(
    ("interval", "said"),
    [
        (None, ("unknown", "")),
        (Interval(low=1, estimate=2, high=3), ("2 B", "1 B to 3 B")),
        (Interval(low=2, estimate=2, high=2), ("2 B", "")),
        (Interval(low=1, estimate=2, high=None), ("2 B", "1 B or more")),
        (Interval(low=None, estimate=None, high=3), ("at most 3 B", "3 B or less")),
        (Interval(low=1, estimate=None, high=math.inf), ("at least 1 B", "1 B or more")),
        (Interval(low=None, estimate=math.nan, high=None), ("unknown", "")),
    ],
)
def test_an_interval_says_which_end_is_open(interval: Interval | None, said: tuple[str, str]) -> None:
    assert wording.interval_text(interval, _write) == said


@pytest.mark.parametrize(
    ("share", "said"),
    [(1.0, "100%"), (0.99999, "99.9%"), (0.9918, "99.2%"), (0.5, "50%"), (0.00001, "0.1%"), (0.0, "0%")],
)
def test_only_all_is_a_hundred_percent(share: float, said: str) -> None:
    assert wording.share_text(share) == said


def test_the_books_are_three_lines() -> None:
    books = Books(
        lost_bytes=1_000, explained_bytes=900, unexplained_bytes=100, share_explained=0.9, window_cycles=3, basis="x"
    )

    assert wording.books_rows(books) == (
        ("lost", "1,000 B", ""),
        ("explained", "900 B", "90%"),
        ("unexplained", "100 B", "10%"),
    )


def test_a_share_above_one_leaves_no_negative_rest() -> None:
    """Sites may explain more than was lost: a block came, and other memory went back."""
    books = Books(
        lost_bytes=90, explained_bytes=100, unexplained_bytes=-10, share_explained=100 / 90, window_cycles=3, basis="x"
    )

    assert wording.books_rows(books)[1:] == (("explained", "100 B", "111.1%"), ("unexplained", "-10 B", ""))


def test_a_site_is_named_by_its_frame_outside_wrappers() -> None:
    assert wording.naming_index(samples.SOFTVOL) == 2
    assert wording.site_label(samples.SOFTVOL) == "softvol_ap_update_mode"


def test_an_unnamed_site_is_told_by_its_innermost_addresses() -> None:
    site = samples.bare_log().findings[0].sites[0]

    assert wording.naming_index(site) is None
    assert wording.site_label(site) == "unnamed site 0x08336aee < 0x08336b46 < 0x08396d52"
    assert wording.site_label(msgspec.structs.replace(site, frames=())) == "site without a backtrace"


def test_a_frame_without_a_function_says_where_its_address_lies() -> None:
    assert wording.frame_label(Frame(pc=1, kind="call")) == "no symbol"
    assert wording.frame_label(Frame(pc=1, kind="call", module=".bss")) == "in .bss"


def test_growth_names_blocks_bytes_and_what_the_heap_pays() -> None:
    assert wording.growth_text(samples.LEAK_FINDING) == "2 blocks, 7,680 B (7,696 B of heap)"
    assert wording.growth_text(samples.bare_log().findings[0]) == "unknown"


def test_the_command_that_makes_the_report_again_can_be_pasted() -> None:
    leak = samples.leak()
    odd = CaptureInfo(name="it's; rm -rf.log", format="text", bytes_read=1, lines=1)
    options = {"--allow-mismatch": "yes", "--wrapper": "my_alloc, os_new", "$(reboot)": "x", "--x;y": "z"}
    provenance = msgspec.structs.replace(leak.provenance, captures=(odd,), elf=None, options=options)

    assert wording.reproduce_command(leak) == (
        "heaptrail read capture.cast --elf rtplayer.elf --cycle-mark 'playback of .* ended' --confidence 0.99 "
        "--output report.html"
    )
    assert shlex.split(wording.reproduce_command(msgspec.structs.replace(leak, provenance=provenance))) == [
        *["heaptrail", "read", "it's; rm -rf.log", "--allow-mismatch"],
        *["--wrapper", "my_alloc", "--wrapper", "os_new", "--output", "report.html"],
    ]


def test_the_first_reason_is_not_said_twice() -> None:
    assert wording.further_reasons(samples.bare_log()) == samples.bare_log().reasons[1:]
    assert wording.further_reasons(samples.leak()) == samples.leak().reasons
