"""How error probability is spent, and what a run without a finding proves.

A soak is looked at many times, and a fixed interval looked at repeatedly has no guarantee. Looks are taken as lying on
a geometric grid of cycles, and look k spends alpha / (k (k + 1)), which sums to alpha however long the run.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy import special  # the quantiles of scipy.stats at a third of its import time

from heaptrail.model.verdict import UpperBound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from heaptrail.analysis.series import FloatArray
    from heaptrail.model.verdict import JudgeSettings

_FIRST_LOOK_CYCLES = 24.0
_LOOK_RATIO = 1.25
_YOUNG_SHARE = 8.0  # the last eighth of a window tells nothing: its blocks may still be in use


def spent_alpha(cycles: float, confidence: float) -> float:
    """The error probability that belongs to a look after so many cycles, within 1 - `confidence` for all looks."""
    look = 1 + max(0, math.floor(math.log(max(cycles, 1.0) / _FIRST_LOOK_CYCLES) / math.log(_LOOK_RATIO)) + 1)
    if cycles < _FIRST_LOOK_CYCLES:
        look = 1
    return (1.0 - min(max(confidence, 0.5), 0.999999)) / (look * (look + 1))


def unseen_loss(cycles: float, largest_single_loss_bytes: float, alpha: float) -> float:
    """The rule of three: the greatest loss per cycle, in single losses of that size, that shows nothing by chance."""
    if cycles <= 0:
        return math.inf
    watched = cycles * (_YOUNG_SHARE - 1) / _YOUNG_SHARE
    return math.log(1.0 / alpha) * largest_single_loss_bytes / watched


def rate_limits(amounts: Sequence[float] | FloatArray, width: float, alpha: float) -> tuple[float, float, float]:
    """Rate of a sum of losses over `width`, with two-sided limits: (low, estimate, high).

    The losses' own number is Poisson at worst; what they weigh enters as an effective number, (sum)^2 / sum of squares.
    """
    weights = np.asarray(amounts, dtype=np.float64)
    total = float(weights.sum())
    if width <= 0:
        return 0.0, 0.0, math.inf
    if total <= 0:
        return 0.0, 0.0, 0.0
    effective = total**2 / float(weights @ weights)
    low = float(special.gammaincinv(effective, alpha / 2)) / effective
    high = float(special.gammainccinv(effective + 1, alpha / 2)) / effective
    return total / width * low, total / width, total / width * high


def upper_bound(value: float, unit: str, settings: JudgeSettings) -> UpperBound:
    """The claim, with all that it rests on; `unit` is `cycle` or `hour`."""
    return UpperBound(
        bytes_per_cycle=value if unit == "cycle" else None,
        bytes_per_hour=value if unit == "hour" else None,
        confidence=settings.confidence,
        largest_single_loss_bytes=settings.largest_single_loss_bytes,
    )


def seen_rate(bound: UpperBound, cycles: float) -> float:
    """The part of a bound that the run shows: all of it but what so many cycles leave unseen."""
    alpha = spent_alpha(cycles, bound.confidence) / 2
    return max(bound.value - unseen_loss(cycles, bound.largest_single_loss_bytes, alpha), 0.0)


def cycles_needed(
    tolerance: float, largest_single_loss_bytes: float, confidence: float, seen: float, cycles: float
) -> int | None:
    """After about how many cycles in all the bound falls below `tolerance`; None when what is seen already exceeds it.

    `seen` is the upper limit of what the run shows (`seen_rate`); it falls about as the root of the run's length.
    """
    guess = max(cycles, 8.0)
    for _ in range(200):
        alpha = spent_alpha(guess, confidence) / 2
        shrunk = seen * math.sqrt(max(cycles, 1.0) / guess)
        if shrunk + unseen_loss(guess, largest_single_loss_bytes, alpha) < tolerance:
            return math.ceil(guess)
        guess *= 1.1
        if guess > 1e7:
            return None
    return None
