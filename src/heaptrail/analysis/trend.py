"""The shape-robust trend: how fast free memory falls, told apart from caches that fill and from one-off steps.

Rank tests and plain regression call most leak-free soak runs a leak, because a filling cache, a single large
allocation and a slow wave all have a slope. Here the curve is fitted with each of several innocent shapes beside the
straight line, and the fall counts only as far as *every* plausible explanation leaves some of it to the line. The
limits are those of the least favourable plausible model; residual autocorrelation widens them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from heaptrail.analysis.fitting import (
    NOISE_FLOOR_BYTES,
    Fitted,
    Piece,
    column,
    information,
    least_squares,
    levels_of,
    quantile_of,
    step_columns,
    with_best_step,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from heaptrail.analysis.series import FloatArray

_LOG_TAUS = (2.0, 10.0, 40.0)  # a table filled by keys of falling frequency grows like a logarithm
_HINGES = (0.2, 0.35, 0.5, 0.6)  # a cache that fills evenly and is full at this share of the window
_SHAPES = ("line", *(f"log {tau:g}" for tau in _LOG_TAUS), *(f"hinge {share:g}" for share in _HINGES))
_RULED_OUT_BIC = 10.0  # further from the best than this is no explanation at all
_MAX_STEPS = 2  # one-off losses that are explained away
_PLAUSIBLE_BIC = 4.0  # models this near to the best widen the limits
_AS_GOOD_BIC = 2.0  # the plain line speaks for itself unless another model is better by more
_EXCUSING_BIC = 1.0  # models without a line, this near, excuse the fall altogether
_DECIDING_BIC = 2.5  # and this near they have a say in whether memory falls at all
_MIN_POINTS = 4  # of a boot; fewer cannot show both a level and a slope
_EPOCHS = 12
_CLEARLY = 2.6  # standard errors
_ENVELOPES = (3, 6, 12, 20)
_MIN_ENVELOPE, _MANY_POINTS = 9, 16
_FAR_CALMER = 0.4
_RECENT_SHARES = (0.5, 0.25, 0.125)
_MIN_RECENT = 8  # points, for a slope with an error of its own
# For the yes or no of a fall, on each of the whole run and its second half. It is not spent over looks: what raises
# false alarms is the shape of innocent curves, which the least favourable model answers; the rate is measured.
_DECIDING_ALPHA = 0.005


@dataclass(frozen=True, slots=True)
class Trend:
    """The loss of free memory per unit of x (positive when memory is lost).

    Args:
        low, estimate, high: Bytes per unit; the limits hold for every plausible shape.
        recent_high: The upper limit of the loss by now: the worst of `high` and the last parts of the run.
        falling: The loss cannot be explained by a plausible innocent shape and is not over by the end.
        slowing: Without the innocent shape the fall would be significant; with it, it is not.
        recent: Only the second half of the run shows it (a late onset).
        speeding: The second half clearly falls faster than the first.
        points: How many points were used, warm-up left out.
        span: Units of x covered by them, over all boots.
        levels: `(boot, x_from, x_to, intercept)` of the straight line through each boot, for the drawing.
        steps: Where memory that never came back proves the fall and not the line, in how many steps it went; else 0.
    """

    low: float
    estimate: float
    high: float
    recent_high: float
    falling: bool
    slowing: bool
    recent: bool
    speeding: bool
    points: int
    span: float
    levels: tuple[tuple[int, float, float, float], ...]
    steps: int = 0


def fit_trend(pieces: Sequence[Piece], alpha: float, whole: Sequence[Piece] = (), settled: float = 0) -> Trend | None:
    """The trend over all pieces with a common slope and a level of its own for each, or None with too few points.

    Args:
        pieces: One per boot; those with fewer than 4 points are left out.
        alpha: Error probability of the two-sided interval, shared between the whole run and its second half.
        whole: The same boots with their declared warm-up, which shows best whether they fill like a logarithm.
        settled: The age at which that warm-up ends.
    """
    usable = [piece for piece in pieces if len(piece.x) >= _MIN_POINTS and piece.x[-1] > piece.x[0]]
    if not usable:
        return None
    points = sum(len(piece.x) for piece in usable)
    finest, usable = usable, _clearest(usable)
    shapes = _SHAPES[:1] + _SHAPES[1 + len(_LOG_TAUS) :] if _no_logarithm(usable, whole, settled) else _SHAPES
    entire = _robust(usable, alpha / 2, shapes)
    half = [late for piece in usable if (late := _second_half(piece)) is not None]
    recent = _robust(half, alpha / 2, shapes) if half else None
    chosen, is_recent = (entire, False)
    if recent is not None and recent.falling and not entire.falling:
        chosen, is_recent = (recent, True)
    high = max(entire.high, recent.high) if recent is not None and chosen.falling else chosen.high
    return Trend(
        low=chosen.low,
        estimate=chosen.estimate,
        high=high,
        recent_high=max(high, _recent_high(finest, alpha)),
        falling=chosen.falling,
        slowing=entire.slowing and not chosen.falling,
        recent=is_recent,
        speeding=chosen.falling and _speeds_up(finest),
        points=points,
        span=float(sum(piece.x[-1] - piece.x[0] for piece in usable)),
        levels=chosen.levels,
    )


def _clearest(pieces: list[Piece]) -> list[Piece]:
    """The pieces at the scale at which a straight line is known best: single points, or the highest of several.

    Memory in use only ever lowers a reading, so that the upper envelope over more cycles is as true and may be far
    calmer: a collector's sawtooth vanishes from it.
    """
    best, least = pieces, _line_error(pieces)
    for scale in _ENVELOPES:
        coarser = [_envelope(piece, scale) for piece in pieces]
        if min(len(piece.x) for piece in coarser) < _MIN_ENVELOPE:
            break
        error = _line_error(coarser)
        # Few points may lie well by chance: where they are few, only a far calmer curve is worth their loss.
        wanted = 1.0 if min(len(piece.x) for piece in coarser) >= _MANY_POINTS else _FAR_CALMER
        if error < wanted * least:
            best, least = coarser, error
    return best


def _envelope(piece: Piece, scale: int) -> Piece:
    count = len(piece.x) // scale * scale
    if count == 0:
        return Piece(piece.boot, piece.x[:0], piece.y[:0], piece.age[:0])
    highest = piece.y[:count].reshape(-1, scale).max(axis=1)
    middle = slice(scale // 2, count, scale)
    return Piece(piece.boot, piece.x[:count][middle], highest, piece.age[:count][middle])


def _line_error(pieces: Sequence[Piece]) -> float:
    y = np.concatenate([piece.y for piece in pieces])
    x = np.concatenate([piece.x for piece in pieces])
    line = least_squares(np.hstack([levels_of(pieces), -x[:, None]]), y - y.mean(), len(pieces), "line", 0)
    return np.inf if line is None else line.error * quantile_of(_DECIDING_ALPHA, line)


def _second_half(piece: Piece) -> Piece | None:
    keep = piece.x >= (piece.x[0] + piece.x[-1]) / 2
    if int(keep.sum()) < 2 * _MIN_RECENT:
        return None
    return Piece(piece.boot, piece.x[keep], piece.y[keep], piece.age[keep])


def _speeds_up(pieces: Sequence[Piece]) -> bool:
    """Whether straight lines through the two halves of the last boot differ by more than their errors explain."""
    piece = pieces[-1]
    late = piece.x >= (piece.x[0] + piece.x[-1]) / 2
    lines = []
    for keep in (~late, late):
        if int(keep.sum()) < _MIN_RECENT:
            return False
        half = Piece(piece.boot, piece.x[keep], piece.y[keep], piece.age[keep])
        lines.append(least_squares(np.hstack([levels_of([half]), -half.x[:, None]]), half.y - half.y.mean(), 1, "", 0))
    first, second = lines
    if first is None or second is None:
        return False
    return second.slope - first.slope > _CLEARLY * float(np.hypot(first.error, second.error))


def _recent_high(pieces: Sequence[Piece], alpha: float) -> float:
    """The greatest upper limit of a straight line through the last half, quarter and eighth of the last boot."""
    piece = pieces[-1]
    worst = -np.inf
    for share in _RECENT_SHARES:
        keep = piece.x >= piece.x[-1] - (piece.x[-1] - piece.x[0]) * share
        if int(keep.sum()) < _MIN_RECENT:
            continue
        recent = Piece(piece.boot, piece.x[keep], piece.y[keep], piece.age[keep])
        design = np.hstack([levels_of([recent]), -recent.x[:, None]])
        line = least_squares(design, recent.y - recent.y.mean(), 1, "line", 0)
        if line is not None:
            worst = max(worst, line.slope + quantile_of(2 * alpha / len(_RECENT_SHARES), line) * line.error)
    return float(worst)


def _no_logarithm(pieces: Sequence[Piece], whole: Sequence[Piece], settled: float) -> bool:
    """Whether a line describes the record far better than any logarithm without a line, which an innocent table is.

    After a warm-up a logarithm is nearly a line itself; its early part is what tells the two apart. So the whole record
    is taken where there is enough of it, and then an innocent fill until `settled` may go with the line.
    """
    long = [piece for piece in whole if len(piece.x) >= 3 * _MIN_RECENT and piece.age[0] < settled < piece.age[-1]]
    early = settled > 0 and bool(long)
    used = long if early else pieces
    y = np.concatenate([piece.y for piece in used])
    age = np.concatenate([piece.age for piece in used])
    if len(y) < _MIN_RECENT:
        return False
    y = y - y.mean()
    base = levels_of(used)
    fills = (None, np.minimum(age, settled), -np.expm1(-3 * age / settled)) if early else (None,)
    lines = [least_squares(np.hstack([base, -age[:, None], *column(fill)]), y, base.shape[1], "", 0) for fill in fills]
    logs = [
        least_squares(np.hstack([base, *column(np.log1p(age / tau))]), y, base.shape[1], "", 0) for tau in _LOG_TAUS
    ]
    fitted = [model for model in lines if model is not None]
    others = [model for model in logs if model is not None]
    if not fitted or not others:
        return False
    scores = information([*fitted, *others], len(y))
    return min(scores[: len(fitted)]) < min(scores[len(fitted) :]) - _RULED_OUT_BIC


def _robust(pieces: Sequence[Piece], alpha: float, names: Sequence[str]) -> Trend:
    y = np.concatenate([piece.y for piece in pieces])
    x = np.concatenate([piece.x for piece in pieces])
    base = levels_of(pieces)
    fitted = _fit_all(pieces, base, y, names, x)
    innocent = _fit_all(pieces, base, y, names, None)
    both = information([*fitted, *innocent], len(y))
    scores = both[: len(fitted)]
    best = min(scores)
    plausible = [model for model, score in zip(fitted, scores, strict=True) if score <= best + _PLAUSIBLE_BIC]
    line = fitted[0]
    quantile = {id(model): quantile_of(alpha, model) for model in (*plausible, line)}
    low = min(model.slope - quantile[id(model)] * model.error for model in plausible)
    certain = min(
        model.slope - quantile_of(_DECIDING_ALPHA, model) * model.error
        for model, score in zip(fitted, scores, strict=True)
        if score <= best + _DECIDING_BIC
    )
    high = max(model.slope + quantile[id(model)] * model.error for model in (*plausible, line))
    centre = line if scores[0] <= best + _AS_GOOD_BIC else fitted[int(np.argmin(scores))]
    # A shape that needs no line at all is an explanation too, as simple as the line itself.
    excused = min(both[len(fitted) :], default=np.inf) <= min(both) + _EXCUSING_BIC
    falling = certain > 0 and not excused and _goes_on(pieces) and _is_spread(pieces)
    line_low = line.slope - quantile[id(line)] * line.error
    return Trend(
        low=low,
        estimate=centre.slope,
        high=high,
        recent_high=high,
        falling=falling,
        slowing=line_low > 0 and not falling and (centre.shape != "line" or certain <= 0),
        recent=False,
        speeding=False,
        points=len(y),
        span=float(sum(piece.x[-1] - piece.x[0] for piece in pieces)),
        levels=tuple(
            (
                piece.boot,
                float(piece.x[0]),
                float(piece.x[-1]),
                float(np.mean(piece.y) + centre.slope * np.mean(piece.x)),
            )
            for piece in pieces
        ),
    )


def _shape(name: str, pieces: Sequence[Piece]) -> FloatArray | None:
    """The column of an innocent shape, None for the plain line."""
    kind, _, number = name.partition(" ")
    if kind == "log":
        ages: FloatArray = np.concatenate([piece.age for piece in pieces])
        logarithm: FloatArray = np.log1p(ages / float(number))
        return logarithm
    if kind == "hinge":
        place: FloatArray = np.concatenate([(piece.x - piece.x[0]) / (piece.x[-1] - piece.x[0]) for piece in pieces])
        return np.minimum(place, float(number))
    return None


def _fit_all(
    pieces: Sequence[Piece], base: FloatArray, y: FloatArray, names: Sequence[str], x: FloatArray | None
) -> list[Fitted]:
    """Every shape with 0, 1 and 2 one-off losses beside a line over `x`, or, for None, without any line."""
    steps = step_columns(pieces)
    offset = y.mean()
    fitted: list[Fitted] = []
    for name in names:
        design = np.hstack([base, *column(x), *column(_shape(name, pieces))])
        for count in range(_MAX_STEPS + 1):
            if count:
                grown = with_best_step(design, steps, y - offset)
                if grown is None:
                    break
                design = grown
            if len(y) < design.shape[1] + 3:
                break
            model = least_squares(design, y - offset, base.shape[1], name, count, line=x is not None)
            if model is not None:
                fitted.append(model)
    return fitted if fitted or x is None else [_flat_guess(pieces)]


def _flat_guess(pieces: Sequence[Piece]) -> Fitted:
    """With too few points for any fit: the end-to-end slope, with an error as large as the whole spread."""
    piece = max(pieces, key=lambda one: len(one.x))
    width = float(piece.x[-1] - piece.x[0])
    slope = float(piece.y[0] - piece.y[-1]) / width
    error = (float(np.ptp(piece.y)) + NOISE_FLOOR_BYTES) / width
    return Fitted("line", 0, slope, error, 1.0, error * error, 0.0, 2)


def _goes_on(pieces: Sequence[Piece]) -> bool:
    """The last third lies below the middle third: whatever fell early and stopped is no leak."""
    falls = 0.0
    for piece in pieces:
        n = len(piece.y)
        falls += float(np.median(piece.y[n // 3 : n - n // 3]) - np.median(piece.y[n - n // 3 :])) * n
    return falls > 0


def _is_spread(pieces: Sequence[Piece]) -> bool:
    """More than a fifth of the loss remains when its two largest of about twelve parts are taken away."""
    drops: list[float] = []
    for piece in pieces:
        parts = [part for part in np.array_split(piece.y, max(2, min(_EPOCHS, len(piece.y) // 2))) if len(part)]
        medians = [float(np.median(part)) for part in parts]
        drops += [before - after for before, after in pairwise(medians)]
    total = sum(drops)
    return total > 0 and total - sum(sorted(drops)[-2:]) > 0.2 * total
