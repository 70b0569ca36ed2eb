"""What never came back: the steps by which the highest free memory still to come goes down.

At any moment, the highest reading of all later ones is what the heap can still recover to. Whatever is borrowed, for
a cycle or for fifty, leaves that level alone; only memory that is gone for the rest of the boot lowers it. Its steps
down are to the curve what the births of survivors are to a listing, so that they are judged like those: enough of
them, spread over the run, still coming, and not becoming rarer. Unlike a slope this needs no model of the noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from heaptrail.analysis.bounds import rate_limits
from heaptrail.analysis.slowing import favours_slowing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from heaptrail.analysis.fitting import Piece
    from heaptrail.analysis.series import FloatArray

_LEAST_STEP_BYTES = 4.0  # readings are multiples of 8
_MIN_EFFECTIVE = 10.0  # steps, weighed by size; blocks that can be told apart need half as many
_MIN_SWINGS = 2.0
_EPOCHS = 7
_MIN_EPOCHS = 5
_LATE = 4 / 7
_MIN_LATE_SHARE = 0.22
_BORROWED_SHARE = 0.9
_YOUNG = 1 / 8  # of a boot at its end: what is borrowed then has had no time to come back
_SLOWING, _CLEARLY_SLOWING = 0.7, 1.5  # log likelihoods
_MIN_POINTS = 8


@dataclass(frozen=True, slots=True)
class Lasting:
    """The lasting losses of a heap after its warm-up.

    Args:
        steps: How many there were.
        low, estimate, high: Bytes per unit of x, the steps taken as chance events at worst.
        goes_on: They are many, spread, still coming and not becoming rarer: a leak.
        fades: They clearly become rarer, as of a table that fills.
    """

    steps: int
    low: float
    estimate: float
    high: float
    goes_on: bool
    fades: bool


@dataclass(frozen=True, slots=True)
class _Steps:
    """`places` are counted over the windows of all boots, end to end, `ages` from each boot's start."""

    amounts: FloatArray
    places: FloatArray
    ages: FloatArray
    record: tuple[tuple[float, float], ...]
    borrowed: FloatArray
    width: float


def lasting_losses(
    pieces: Sequence[Piece], whole: Sequence[Piece], settled: float, swing: float, alpha: float
) -> Lasting | None:
    """Find them.

    Args:
        pieces: The boots after their warm-up.
        whole: The same boots with their warm-up, which shows whether they fill ever more slowly.
        settled: The age at which the declared warm-up ends, 0 where none was declared.
        swing: The usual range of the readings within one point, in bytes.
        alpha: Error probability of the interval.

    Returns:
        None where no boot has enough points or nothing was lost.
    """
    found = _steps(pieces, whole or pieces)
    total = float(found.amounts.sum())
    if total <= 0 or found.width <= 0:
        return None
    effective = total**2 / float(found.amounts @ found.amounts)
    where = found.places / found.width
    slowing = favours_slowing(found.ages, found.record, settled)
    enough = effective >= _MIN_EFFECTIVE and total > _MIN_SWINGS * swing
    borrowed = float(np.quantile(found.borrowed, _BORROWED_SHARE))
    spread = len(np.unique(np.floor(where * _EPOCHS))) >= _MIN_EPOCHS
    late = float(found.amounts[where >= _LATE].sum()) / total
    low, estimate, high = rate_limits(found.amounts, found.width, alpha)
    return Lasting(
        steps=len(found.amounts),
        low=low,
        estimate=estimate,
        high=high,
        goes_on=enough and total > borrowed and spread and late >= _MIN_LATE_SHARE and slowing <= _SLOWING,
        fades=slowing > _CLEARLY_SLOWING,
    )


def _steps(pieces: Sequence[Piece], whole: Sequence[Piece]) -> _Steps:
    none = np.empty(0)
    amounts, places, ages, borrowed = [none], [none], [none], [none]
    record: list[tuple[float, float]] = []
    width = 0.0
    entire = {piece.boot: piece for piece in whole}
    for piece in pieces:
        if len(piece.x) < _MIN_POINTS:
            continue
        full = entire.get(piece.boot, piece)
        level = np.maximum.accumulate(full.y[::-1])[::-1]
        drops = level[:-1] - level[1:]
        at, age = full.x[1:], full.age[1:]
        begin, end = float(piece.x[0]), float(piece.x[-1]) - float(piece.x[-1] - piece.x[0]) * _YOUNG
        lost = (drops > _LEAST_STEP_BYTES) & (at < end)
        counted = lost & (at >= begin)
        amounts.append(drops[counted])
        places.append(at[counted] - begin + width)
        ages.append(age[lost])
        inside = (full.x >= begin) & (full.x < end)
        borrowed.append((level - full.y)[inside])
        record.append((float(full.age[0]), float(np.interp(end, full.x, full.age))))
        width += end - begin
    return _Steps(
        np.concatenate(amounts),
        np.concatenate(places),
        np.concatenate(ages),
        tuple(record),
        np.concatenate(borrowed),
        width,
    )
