"""A comparison in words, in Markdown and as JSON: right, printable, and the same each time."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import msgspec
import pytest
import strategies
from hypothesis import HealthCheck, given, settings
from markdown_it import MarkdownIt
from unit.reports import samples
from unit.reports.test_html import Page

from heaptrail.compare import compare
from heaptrail.model.comparison import Comparison
from heaptrail.reports.difference import difference_json, difference_markdown, difference_text
from heaptrail.reports.difference_icicle import difference_icicle
from heaptrail.reports.difference_page import difference_html
from heaptrail.reports.untrusted import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from heaptrail.model.report import Report

MARKDOWN = MarkdownIt("gfm-like", {"linkify": False, "html": True})
KNOWN_TAGS = set(Page(difference_html(compare(samples.leak(), samples.no_leak()))).tags) | {"br"}
GOLDENS = Path(__file__).resolve().parents[2] / "golden" / "diff"
PAIRS = {
    "mended": (samples.leak, samples.no_leak),
    "new": (samples.no_leak, samples.leak),
    "same": (samples.leak, samples.leak),
    "inconclusive": (samples.leak, samples.bare_log),
    "hostile": (samples.no_leak, samples.hostile),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_a_comparison_stays_the_same(pair: str, golden: Callable[[Path, str], bool]) -> None:
    before, after = PAIRS[pair]
    comparison = compare(before(), after())

    assert golden(GOLDENS / f"{pair}.txt", difference_text(comparison).decode())
    assert golden(GOLDENS / f"{pair}.md", difference_markdown(comparison).decode())


def test_the_json_has_the_outcome_and_each_change() -> None:
    found = json.loads(difference_json(compare(samples.leak(), samples.no_leak())))

    assert (found["schema"], found["outcome"]) == ("heaptrail.diff/1", "better")
    change = found["changes"][0]
    assert (change["name"], change["change"], change["after"]) == ("resample_ap_update_mode", "gone", None)
    assert change["before"]["per_cycle_bytes"] == 3848
    assert found["before"]["rate_bytes_per_cycle"]["estimate"] == 7696


def icicle_of(before: Report, after: Report) -> dict[str, tuple[str, int]]:
    """Colour and width of each cell, by its label."""
    chart = difference_icicle(compare(before, after))
    assert chart is not None
    trace = chart.spec["data"][0]
    colours = (colour.removeprefix("var(--").removesuffix("-cell)") for colour in trace["marker"]["colors"])
    return dict(zip(trace["labels"], zip(colours, trace["values"], strict=True), strict=True))


def with_rates(*rates: float) -> Report:
    """The leaking sample, whose two sites leak at these rates."""
    leak = samples.leak()
    finding = leak.findings[0]
    sites = tuple(
        msgspec.structs.replace(site, per_cycle_footprint_bytes=rate, per_cycle_bytes=rate)
        for site, rate in zip(finding.sites, rates, strict=False)
    )
    return msgspec.structs.replace(leak, findings=(msgspec.structs.replace(finding, sites=sites), *leak.findings[1:]))


def test_the_icicle_is_blue_for_what_is_gone_and_red_for_what_is_new() -> None:
    gone, new = icicle_of(samples.leak(), samples.no_leak()), icicle_of(samples.no_leak(), samples.leak())

    assert gone["softvol_ap_update_mode"] == ("shrank", 3_848_000)
    assert new["softvol_ap_update_mode"] == ("grew", 3_848_000)
    assert new["_AudioTrackStart"] == ("grew", 2 * 3_848_000)


def test_the_icicle_is_pale_for_what_changed_little_and_grey_for_what_stayed() -> None:
    cells = icicle_of(with_rates(1000.0, 1000.0), with_rates(1000.0, 1400.0))

    assert cells["softvol_ap_update_mode"][0] == "shared"
    assert cells["resample_ap_update_mode"] == ("grew-some", 1_400_000)
    assert cells["_AudioTrackStart"] == ("grew-some", 2_400_000)


def test_a_leak_that_the_second_run_cannot_show_is_neither_red_nor_blue() -> None:
    assert icicle_of(samples.leak(), samples.bare_log())["softvol_ap_update_mode"][0] == "undecided"


@pytest.mark.parametrize("pair", PAIRS)
def test_the_page_says_what_the_text_says(pair: str) -> None:
    before, after = PAIRS[pair]
    comparison = compare(before(), after())

    page = Page(difference_html(comparison))

    text = " ".join(page.text.replace("\u00a0", " ").split())
    assert " ".join(printable(comparison.headline).split()) in text
    assert text.count("lost per cycle") == 1
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert not {"img", "link", "iframe", "a href"} & set(page.tags)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(strategies.records(Comparison).filter(lambda comparison: bool(comparison.reasons)))
def test_a_comment_has_no_link_image_mention_or_command(comparison: Comparison) -> None:
    text = difference_markdown(comparison).decode()
    tokens = [child for token in MARKDOWN.parse(text) for child in [token, *(token.children or [])]]

    forbidden = {"link_open", "image", "code_inline", "em_open", "html_inline", "html_block", "fence"}
    assert not forbidden & {token.type for token in tokens}
    assert not re.search(r"@\w|##[a-z]*\[", text)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(strategies.records(Comparison).filter(lambda comparison: bool(comparison.reasons)))
def test_every_comparison_is_a_page_without_an_element_of_a_strangers(comparison: Comparison) -> None:
    with patch("heaptrail.reports.page.plotly_script", return_value="'plotly'"):
        page = Page(difference_html(comparison))

    assert set(page.tags) <= KNOWN_TAGS
    assert all(character.isprintable() or character in "\n\u00a0" for character in page.text)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(strategies.records(Comparison).filter(lambda comparison: bool(comparison.reasons)))
def test_every_comparison_can_be_shown_and_lets_no_control_character_out(comparison: Comparison) -> None:
    for write in (difference_text, difference_markdown, difference_json):
        text = write(comparison).decode().replace("\ufe0f", "")
        assert all(character.isprintable() or character == "\n" for character in text)
