"""The terminal report: right to the byte, narrow enough, and the same with colour, without, and in ASCII."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from unit.reports import samples

from heaptrail.reports.terminal import TerminalRenderer

if TYPE_CHECKING:
    from collections.abc import Callable

GOLDENS = Path(__file__).resolve().parents[2] / "golden" / "reports" / "terminal"
SGR = re.compile(r"\x1b\[[0-9;]*m")


@pytest.mark.parametrize("name", samples.SAMPLES)
def test_the_text_of_a_sample_stays_the_same(name: str, golden: Callable[[Path, str], None]) -> None:
    text = TerminalRenderer().render(samples.SAMPLES[name]()).decode()

    golden(GOLDENS / f"{name}.txt", text)
    assert text.endswith("\n")


def test_the_order_is_verdict_books_loss_findings_warnings_origin() -> None:
    text = TerminalRenderer().render(samples.leak()).decode()

    titles = ["Leak: ", "\nBooks ", "\nLoss\n", "\nFindings\n", "\nWarnings about the evidence\n", "\nWhere this comes"]
    places = [text.index(title) for title in titles]
    assert places == sorted(places)


@pytest.mark.parametrize("name", [*samples.SAMPLES, "huge"])
@pytest.mark.parametrize("width", [1, 40, 80, 132])
def test_no_line_is_wider_than_the_terminal(name: str, width: int) -> None:
    text = TerminalRenderer(width=width).render(getattr(samples, name)()).decode()

    assert max(len(line) for line in text.splitlines()) <= max(width, 40)


def test_raw_addresses_stay_and_inlined_frames_and_wrappers_are_marked() -> None:
    text = TerminalRenderer().render(samples.leak()).decode()

    assert "  0x08336aee  pvPortMalloc  heap_4.c:658  (wrapper)\n" in text
    assert " > 0x08396d52  softvol_ap_update_mode  softvolume.c:250\n" in text
    assert "  0x084496c6  doRender  audioRenderComponent.c:942  (inlined)\n" in text
    assert "  0x084496c6  doRender  audioRenderComponent.c:898\n" in text


def test_innocent_classes_are_one_line_each_unless_details_are_asked_for() -> None:
    short = TerminalRenderer().render(samples.no_leak()).decode()
    long = TerminalRenderer(details=True).render(samples.no_leak()).decode()

    assert "bounded    1 site, 16 blocks, 24,576 B: packet_cache_grow (cache.c:88)\n" in short
    assert "pvPortMalloc" not in short
    assert "BOUNDED: packet_cache_grow" in long
    assert long.count("pvPortMalloc") == 5


def test_colour_adds_nothing_but_colour() -> None:
    plain = TerminalRenderer().render(samples.leak()).decode()
    colour = TerminalRenderer(colour=True).render(samples.leak()).decode()

    assert SGR.search(colour)
    assert SGR.sub("", colour) == plain


def test_ascii_writes_other_letters_as_codes() -> None:
    report = msgspec.structs.replace(samples.empty(), headline="Inconclusive: \u97f3\u9891 has no reading.")

    assert b"\\u97f3\\u9891 has no reading." in TerminalRenderer(ascii_only=True).render(report)
    assert "\u97f3\u9891 has no reading." in TerminalRenderer().render(report).decode()


def test_wide_letters_count_as_two_columns() -> None:
    report = msgspec.structs.replace(samples.empty(), headline="Inconclusive: " + "\u97f3\u9891 " * 40)

    lines = TerminalRenderer().render(report).decode().split("\n\n", maxsplit=1)[0].splitlines()

    assert all(sum(2 if ord(letter) > 0x3000 else 1 for letter in line) <= 80 for line in lines)
    assert len(lines) > 2


def test_a_log_cannot_drive_the_terminal() -> None:
    text = TerminalRenderer().render(samples.hostile()).decode()

    assert all(character.isprintable() or character == "\n" for character in text)
    assert "pwned\x07" not in text
    assert "\\u202egnp.exe" in text, "what was stripped from view is shown as a code"


def test_a_huge_report_stays_short() -> None:
    text = TerminalRenderer().render(samples.huge()).decode()

    assert text.count("\n") < 120
    assert "one-time   800 sites" in text


def test_a_string_of_megabytes_costs_no_more_than_its_part_that_is_shown() -> None:
    report = msgspec.structs.replace(samples.empty(), headline="\x1b[1m" * 1_000_000)

    assert len(TerminalRenderer().render(report)) < 1_000_000
