"""The arithmetic under the verdict: spent error, the rule of three, curves and fits."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

import numpy as np
import pytest

from heaptrail.analysis.bounds import cycles_needed, rate_limits, seen_rate, spent_alpha, unseen_loss
from heaptrail.analysis.fitting import Piece
from heaptrail.analysis.series import heap_series
from heaptrail.analysis.slowing import favours_slowing
from heaptrail.analysis.trend import fit_trend
from heaptrail.model.verdict import UpperBound

if TYPE_CHECKING:
    from conftest import Runs


def piece(values: list[float], boot: int = 1) -> Piece:
    x = np.arange(len(values), dtype=float)
    return Piece(boot, x, np.array(values, dtype=float), x)


def test_all_looks_together_spend_no_more_than_the_error() -> None:
    grid = [24 * 1.25**k for k in range(60)]
    assert sum(spent_alpha(cycles + 0.01, 0.99) for cycles in grid) <= 0.01
    assert spent_alpha(1000, 0.99) < spent_alpha(30, 0.99)


def test_ten_looks_and_a_loss_of_256_bytes_need_about_290_cycles_for_10_bytes_per_cycle() -> None:
    """The worked example of the method's description."""
    assert unseen_loss(290, 256, 0.01 / 220) == pytest.approx(10, rel=0.02)


def test_nothing_seen_has_a_rate_of_nothing_and_no_cycles_no_bound() -> None:
    assert rate_limits([], 100, 0.01) == (0.0, 0.0, 0.0)
    assert math.isinf(unseen_loss(0, 256, 0.01))


def test_the_limits_of_a_rate_narrow_with_the_number_of_losses() -> None:
    few, many = rate_limits([100.0] * 5, 100, 0.01), rate_limits([100.0] * 50, 1000, 0.01)
    assert few[1] == many[1] == 5.0
    assert few[0] < many[0] < 5.0 < many[2] < few[2]


def test_cycles_needed_is_enough_and_none_where_nothing_is() -> None:
    needed = cycles_needed(10.0, 256, 0.99, 0.0, 50)
    assert needed is not None
    assert unseen_loss(needed, 256, spent_alpha(needed, 0.99) / 2) < 10.0
    assert cycles_needed(1e-9, 256, 0.99, 5.0, 50) is None


@pytest.mark.parametrize("bound_bytes", [401.0, 754.0, 5_000.0])
def test_a_bound_above_the_tolerance_always_needs_more_cycles(bound_bytes: float) -> None:
    bound = UpperBound(bytes_per_cycle=bound_bytes, confidence=0.99, largest_single_loss_bytes=256)

    needed = cycles_needed(400.0, 256, 0.99, seen_rate(bound, 45), 45)

    assert needed is None or needed > 45


def test_the_highest_reading_stands_for_its_cycle(runs: type[Runs]) -> None:
    samples = [runs.reading(cycle, 1000 - dip, t_s=cycle + 0.1 * dip) for cycle in range(3) for dip in (0, 300, 100)]
    (series,) = heap_series(samples)
    assert series.curves[0].free.tolist() == [1000, 1000, 1000]
    assert series.swing == 300


def test_a_million_cycles_become_few_points(runs: type[Runs]) -> None:
    (series,) = heap_series([runs.reading(cycle, 10**6 - cycle) for cycle in range(5000)])
    assert series.points <= 240
    assert series.curves[0].x[-1] > 4900


def test_free_is_the_difference_where_only_total_and_used_are_printed(runs: type[Runs]) -> None:
    sample = type(runs.reading(0, 0))(line=1, cycle=0, total_bytes=1000, used_bytes=400)
    (series,) = heap_series([sample])
    assert series.last_free == 600


def test_a_line_is_found_with_its_rate() -> None:
    noise = random.Random(2)
    trend = fit_trend([piece([50_000 - 30 * i - noise.randrange(200) for i in range(150)])], 0.001)
    assert trend is not None
    assert trend.falling
    assert trend.low <= 30 <= trend.high


@pytest.mark.parametrize("seed", range(5))
def test_steps_hinges_and_logarithms_are_not_falls(seed: int) -> None:
    noise = random.Random(seed)
    shapes = [
        [50_000 - 5_000 * (i > 60) - noise.randrange(200) for i in range(150)],
        [50_000 - 100 * min(i, 60) - noise.randrange(200) for i in range(150)],
        [50_000 - 2_000 * math.log1p(i / 10) - noise.randrange(200) for i in range(150)],
    ]
    for values in shapes:
        trend = fit_trend([piece(values)], 0.001)
        assert trend is not None
        assert not trend.falling


def test_boots_have_levels_of_their_own() -> None:
    boots = [piece([50_000 - 4_000 * boot - 20 * i for i in range(40)], boot) for boot in range(3)]
    trend = fit_trend(boots, 0.001)
    assert trend is not None
    assert trend.estimate == pytest.approx(20)
    assert [level[0] for level in trend.levels] == [0, 1, 2]


def test_too_few_points_have_no_trend() -> None:
    assert fit_trend([piece([1.0, 2.0, 3.0])], 0.01) is None


def test_births_that_become_rarer_are_told_from_even_ones() -> None:
    rarer = np.unique(np.floor(np.exp(np.linspace(0, math.log(200), 40))))
    even = np.arange(0.0, 200.0, 5.0)
    assert favours_slowing(rarer, [(0.0, 200.0)], 50.0) > 0
    assert favours_slowing(even, [(0.0, 200.0)], 50.0) < 0
    filled_then_even = np.concatenate((np.arange(0.0, 40.0), np.arange(40.0, 200.0, 5.0)))
    assert favours_slowing(filled_then_even, [(0.0, 200.0)], 50.0) < 0
