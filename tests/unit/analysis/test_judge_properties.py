"""What holds of `judge` whatever a log leaves: it answers, and what must not matter does not."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import evidences, judge_settings

from heaptrail.analysis.verdict import judge
from heaptrail.model.evidence import Evidence
from heaptrail.model.verdict import JudgeSettings, Verdict

if TYPE_CHECKING:
    from random import Random

    from conftest import Runs

    from heaptrail.model.verdict import Interval


def _ordered(interval: Interval | None) -> bool:
    if interval is None:
        return True
    ends = [end for end in (interval.low, interval.estimate, interval.high) if end is not None]
    return ends == sorted(ends) and all(math.isfinite(end) for end in ends)


@settings(max_examples=150, deadline=None)
@given(evidences(), judge_settings())
def test_any_evidence_gets_a_verdict_with_a_reason(evidence: Evidence, terms: JudgeSettings) -> None:
    verdict = judge(evidence, terms)
    assert verdict.reasons
    assert all(reason and reason == reason.strip() for reason in verdict.reasons)
    assert _ordered(verdict.rate_bytes_per_cycle)
    assert _ordered(verdict.rate_bytes_per_hour)
    assert _ordered(verdict.exhaustion_cycles)
    assert _ordered(verdict.exhaustion_hours)
    assert msgspec.json.decode(msgspec.json.encode(verdict), type=Verdict) == verdict
    if verdict.verdict == "no_leak":
        assert verdict.upper_bound is not None


@settings(max_examples=60, deadline=None)
@given(evidences(), judge_settings(), st.integers(1, 2**20))
def test_moving_all_addresses_changes_nothing_but_the_addresses(
    evidence: Evidence, terms: JudgeSettings, offset: int
) -> None:
    moved = msgspec.structs.replace(
        evidence,
        dumps=tuple(
            msgspec.structs.replace(
                live,
                blocks=tuple(msgspec.structs.replace(block, address=block.address + offset) for block in live.blocks),
            )
            for live in evidence.dumps
        ),
    )
    first, second = judge(evidence, terms), judge(moved, terms)
    assert first.verdict == second.verdict
    assert first.reasons == second.reasons
    assert [site.site_class for site in first.sites] == [site.site_class for site in second.sites]


@settings(max_examples=60, deadline=None)
@given(evidences(), judge_settings())
def test_the_low_water_mark_never_matters(evidence: Evidence, terms: JudgeSettings) -> None:
    without = msgspec.structs.replace(
        evidence, samples=tuple(msgspec.structs.replace(sample, min_free_bytes=None) for sample in evidence.samples)
    )
    assert judge(evidence, terms) == judge(without, terms)


@settings(max_examples=30, deadline=None)
@given(level=st.integers(100_000, 10_000_000), noise=st.randoms(use_true_random=False), depth=st.integers(1, 200))
def test_noise_around_a_level_is_never_a_leak(level: int, noise: Random, depth: int, runs: type[Runs]) -> None:
    samples = runs.readings(level - 8 * noise.randrange(depth) for _ in range(80))
    assert judge(Evidence(samples=samples), JudgeSettings()).verdict != "leak"


@settings(max_examples=30, deadline=None)
@given(loss=st.integers(8, 4096), cycles=st.integers(30, 200))
def test_an_even_loss_each_cycle_is_a_leak_at_its_rate(loss: int, cycles: int, runs: type[Runs]) -> None:
    samples = runs.readings(10_000_000 - loss * cycle for cycle in range(cycles))
    verdict = judge(Evidence(samples=samples), JudgeSettings())
    assert verdict.verdict == "leak"
    rate = verdict.rate_bytes_per_cycle
    assert rate is not None
    assert rate.low is not None
    assert rate.high is not None
    assert rate.low <= loss <= rate.high
