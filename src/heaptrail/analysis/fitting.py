"""Least squares for free-heap curves: levels per boot, a common slope, innocent shapes and steps, honest errors.

Residuals of a soak are autocorrelated; the error of a slope and the number of points that count are corrected for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

if TYPE_CHECKING:
    from collections.abc import Sequence

    from heaptrail.analysis.series import FloatArray

NOISE_FLOOR_BYTES = 4.0  # readings are multiples of 8; a perfect fit is not perfect knowledge


@dataclass(frozen=True, slots=True)
class Piece:
    """The points of one boot after its warm-up; `age` counts cycles (or points) since the boot's start."""

    boot: int
    x: FloatArray
    y: FloatArray
    age: FloatArray


@dataclass(frozen=True, slots=True)
class Fitted:
    """One model fitted: its loss per unit of x with standard error, degrees of freedom, and what BIC needs."""

    shape: str
    steps: int
    slope: float
    error: float
    dof: float
    sse: float
    autocorrelation: float
    parameters: int


def levels_of(pieces: Sequence[Piece]) -> FloatArray:
    """One column per boot: its own level."""
    lengths = [len(piece.x) for piece in pieces]
    columns = np.zeros((sum(lengths), len(pieces)))
    start = 0
    for index, length in enumerate(lengths):
        columns[start : start + length, index] = 1.0
        start += length
    return columns


def column(shape: FloatArray | None) -> list[FloatArray]:
    """An innocent shape as a column of a design: what takes memory, so that its share is positive; none for None."""
    return [] if shape is None else [-shape[:, None]]


def step_columns(pieces: Sequence[Piece]) -> FloatArray:
    """One column per possible one-off loss: minus one from that point on, within its boot."""
    blocks: list[FloatArray] = []
    total = sum(len(piece.x) for piece in pieces)
    start = 0
    for piece in pieces:
        length = len(piece.x)
        inner = np.arange(2, length - 1)
        columns = np.zeros((total, len(inner)))
        columns[start : start + length] = -(np.arange(length)[:, None] >= inner[None, :]).astype(float)
        blocks.append(columns)
        start += length
    return np.hstack(blocks)


def with_best_step(design: FloatArray, steps: FloatArray, y: FloatArray) -> FloatArray | None:
    """The design with the one-off loss that explains most of what is left, None when none would be a loss."""
    q, _ = np.linalg.qr(design)
    residual = y - q @ (q.T @ y)
    free = steps - q @ (q.T @ steps)
    norms = np.einsum("ij,ij->j", free, free)
    gains = free.T @ residual
    valid = (norms > 1e-3) & (gains > 0)
    if not valid.any():
        return None
    score = np.where(valid, gains * gains / np.maximum(norms, 1e-3), -1.0)
    return np.hstack([design, steps[:, [int(np.argmax(score))]]])


def least_squares(
    design: FloatArray, y: FloatArray, levels: int, name: str, steps: int, *, line: bool = True
) -> Fitted | None:
    """Fit one design: first `levels` columns of levels, then the line unless there is none, then shapes and steps.

    None when columns coincide, or when an innocent share comes out negative: a cache only takes memory.
    """
    q, r = np.linalg.qr(design)
    diagonal = np.abs(np.diag(r))
    if diagonal.min() <= 1e-9 * max(diagonal.max(), 1.0):
        return None
    inverse = np.linalg.inv(r)
    coefficients = inverse @ (q.T @ y)
    if (coefficients[levels + line :] < 0).any():
        return None
    residual = y - design @ coefficients
    n, parameters = design.shape
    sse = float(residual @ residual) + n * NOISE_FLOOR_BYTES**2
    rho = _autocorrelation(residual)
    inflation = (1 + rho) / (1 - rho)
    effective = n / inflation
    dof = max(effective - parameters, 1.5)
    variance = sse / max(n - parameters, 1) * inflation
    slope = float(coefficients[levels]) if line else 0.0
    error = float(np.sqrt(variance * float(inverse[levels] @ inverse[levels]))) if line else 0.0
    return Fitted(name, steps, slope, error, dof, sse, rho, parameters)


def _autocorrelation(residual: FloatArray) -> float:
    """The AR(1) coefficient from lags 1 and 2, raised by its small-sample bias, between 0 and 0.95."""
    n = len(residual)
    power = float(residual @ residual)
    if n < 6 or power <= n * 1e-6:
        return 0.0
    one = float(residual[1:] @ residual[:-1]) / power
    two = float(residual[2:] @ residual[:-2]) / power
    rho = max(one, np.sqrt(max(two, 0.0)) if one > 0 else 0.0, 0.0)
    return float(min(rho + (1 + 3 * rho) / n if rho > 1 / np.sqrt(n) else rho, 0.95))


def information(fitted: Sequence[Fitted], n: int) -> list[float]:
    """The Bayesian information criterion on the effective number of points, the same for all models."""
    richest = min(fitted, key=lambda model: model.sse)
    effective = max(n * (1 - richest.autocorrelation) / (1 + richest.autocorrelation), 4.0)
    # A step costs two parameters: its size and its place.
    return [
        effective * float(np.log(model.sse / n)) + (model.parameters + model.steps) * float(np.log(effective))
        for model in fitted
    ]


def quantile_of(alpha: float, model: Fitted) -> float:
    """How many standard errors the two-sided limit of this model lies away."""
    return float(special.stdtrit(model.dof, 1 - alpha / 2))
