"""Do births at a site become rarer? A cache that fills does that, a leak does not.

The births on record, from the boot's start where the tracer was on so early, are explained in two ways and the
likelihoods compared: by intensities that fall over the whole record (a table whose keys become rarer, a cache that
nears its size), and by an even intensity to which an innocent fill within the declared warm-up may be added.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from heaptrail.analysis.series import FloatArray

CLEARLY_SLOWING = 0.7
"""In log likelihood: from here on births that are known to the cycle become rarer."""
_ORIGINS = (1.0, 5.0, 20.0, 60.0)
_TAU_SHARES = (1 / 6, 1 / 4, 1 / 2.5, 1 / 1.5)
_FILL_COST = 1.0  # a fill is fitted by its amount and its shape, and must earn that
_FULL_AT = (1.0, 0.8, 0.5)  # of the declared warm-up
_FILL_AMOUNTS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)


def favours_slowing(ages: FloatArray, record: Sequence[tuple[float, float]], settled: float) -> float:
    """By how much rarer births explain the record better than even ones, in log likelihood; above 0 they do.

    Args:
        ages: One per cycle with births, counted from its boot's start.
        record: From which age to which births were on record, one pair for each span.
        settled: The age at which an innocent fill is over by declaration; 0 where none was declared.
    """
    if len(ages) == 0 or not record:
        return 0.0
    at = ages + 0.5
    begins = np.array([begin for begin, _ in record])
    ends = np.array([end for _, end in record])
    longest = float(ends.max())
    rarer = [_log_likelihood(1 / (at + c), float(np.log((ends + c) / (begins + c)).sum())) for c in _ORIGINS]
    taus = [longest * share for share in _TAU_SHARES]
    rarer += [_log_likelihood(np.exp(-at / tau), _fading(tau, begins, ends)) for tau in taus]
    width = float((ends - begins).sum())
    even = [_log_likelihood(np.ones_like(at), width)]
    if settled > 0:
        for amount in _FILL_AMOUNTS:
            for until in (settled * share for share in _FULL_AT):
                inside = float((np.minimum(ends, until) - np.minimum(begins, until)).sum())
                flat = 1.0 + amount * (at < until).astype(np.float64)
                even.append(_log_likelihood(flat, width + amount * inside) - _FILL_COST)
            for tau in (settled / 3, settled / 6):
                density = 1 + amount * np.exp(-at / tau)
                even.append(_log_likelihood(density, width + amount * _fading(tau, begins, ends)) - _FILL_COST)
    return max(rarer) - max(even)


def _fading(tau: float, begins: FloatArray, ends: FloatArray) -> float:
    return float((tau * (np.exp(-begins / tau) - np.exp(-ends / tau))).sum())


def _log_likelihood(density: FloatArray, total: float) -> float:
    """Of births with this intensity at their places and this integral over the record, whatever its scale."""
    return float(np.log(np.maximum(density, 1e-300)).sum()) - len(density) * math.log(max(total, 1e-300))
