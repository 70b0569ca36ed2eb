"""What `--until` means, when the looks are, and what is said of them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaptrail.analysis.bounds import spent_alpha, unseen_loss
from heaptrail.errors import UsageError
from heaptrail.model.verdict import JudgeSettings
from heaptrail.procedures.claim import Claim, next_look, parse_claim

SETTINGS = JudgeSettings()


@pytest.mark.parametrize(
    ("text", "limit", "unit"),
    [
        ("rate < 10 B/cycle", 10, "cycle"),
        ("10 bytes per cycle", 10, "cycle"),
        ("loss<0.5B/round", 0.5, "cycle"),
        ("rate < 2 KB/hour", 2048, "hour"),
        ("rate < 100 B/h", 100, "hour"),
        ("rate < 48 KB/day", 2048, "hour"),
        ("12/cycle", 12, "cycle"),
    ],
)
def test_a_claim_is_understood(text: str, limit: float, unit: str) -> None:
    claim = parse_claim(text, SETTINGS)

    assert (claim.bytes_per_unit, claim.unit) == (limit, unit)
    assert claim.settings.tolerate_bytes_per_cycle == (limit if unit == "cycle" else None)


@pytest.mark.parametrize("text", ["", "no leak", "rate > 10 B/cycle", "rate < -3 B/cycle", "10 B", "rate < 10 B/year"])
def test_what_is_no_claim_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no claim"):
        parse_claim(text, SETTINGS)


def test_a_loss_of_nothing_can_not_be_proven() -> None:
    with pytest.raises(UsageError, match="no finite run"):
        parse_claim("rate < 0 B/cycle", SETTINGS)


def test_without_until_the_workload_file_decides() -> None:
    assert parse_claim(None, JudgeSettings(tolerate_bytes_per_cycle=16)).tolerance(None, None) == 16
    assert parse_claim(None, SETTINGS).tolerance(None, 300_000) == 100, "a heap that outlives 3,000 cycles"
    assert parse_claim(None, SETTINGS).tolerance(None, None) is None


def test_a_limit_per_hour_needs_the_length_of_a_cycle() -> None:
    claim = parse_claim("rate < 3600 B/hour", SETTINGS)

    assert claim.tolerance(None, None) is None
    assert claim.tolerance(20.0, None) == 20.0
    assert claim.in_force(20.0).tolerate_bytes_per_cycle == 20.0


@given(st.floats(1, 1000), st.sampled_from([32, 256, 2048]))
def test_the_plan_is_long_enough_and_not_much_longer(limit: float, loss: int) -> None:
    claim = Claim(bytes_per_unit=limit, settings=JudgeSettings(largest_single_loss_bytes=loss))
    planned = claim.cycles_needed(limit)

    assert planned is not None
    assert unseen_loss(planned, loss, spent_alpha(planned, 0.99) / 2) < limit
    sooner = planned / 1.7
    assert planned <= 24 or unseen_loss(sooner, loss, spent_alpha(sooner, 0.99) / 2) > limit


def test_the_note_of_the_research_holds() -> None:
    """10 B/cycle at 256 B single loss needs about 290 cycles; 2,048 B about 2,300: the next look is later by 25 %."""
    small = Claim(bytes_per_unit=10).cycles_needed(10)
    large = Claim(bytes_per_unit=10, settings=JudgeSettings(largest_single_loss_bytes=2048)).cycles_needed(10)

    assert small is not None
    assert large is not None
    assert 290 <= small <= 450
    assert 2300 <= large <= 4500


@given(st.integers(0, 10_000_000))
def test_looks_lie_on_a_geometric_grid(cycles: int) -> None:
    look = next_look(cycles)

    assert look > cycles
    assert look <= max(24, math.ceil(cycles * 1.25) + 1)
    assert next_look(look) > look
