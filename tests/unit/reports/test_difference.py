"""A comparison in words, in Markdown and as JSON: right, printable, and the same each time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import strategies
from hypothesis import HealthCheck, given, settings
from unit.reports import samples

from heaptrail.compare import compare
from heaptrail.model.comparison import Comparison
from heaptrail.reports.difference import difference_json, difference_markdown, difference_text

if TYPE_CHECKING:
    from collections.abc import Callable

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


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(strategies.records(Comparison).filter(lambda comparison: bool(comparison.reasons)))
def test_every_comparison_can_be_shown_and_lets_no_control_character_out(comparison: Comparison) -> None:
    for write in (difference_text, difference_markdown, difference_json):
        text = write(comparison).decode().replace("\ufe0f", "")
        assert all(character.isprintable() or character == "\n" for character in text)
