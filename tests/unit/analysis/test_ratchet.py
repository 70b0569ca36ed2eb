"""Memory that never comes back is told from memory that is borrowed, however much that is."""

from __future__ import annotations

import numpy as np

from heaptrail.analysis.fitting import Piece
from heaptrail.analysis.ratchet import Lasting, lasting_losses

CYCLES = np.arange(240.0)
RNG = np.random.default_rng(7)
BORROWED = 800 * RNG.random(240) * (RNG.random(240) < 0.7)
SESSIONS = 300 * np.convolve(RNG.poisson(1.2, 270), np.ones(30), "valid")[:240]  # 36 at a time, each for 30 cycles


def losses(taken: np.ndarray, warmup: int = 50) -> Lasting | None:
    """Of a heap of 100 kB from which so much is taken at the end of each cycle."""
    whole = Piece(1, CYCLES, 100_000 - taken, CYCLES)
    settled = Piece(1, CYCLES[warmup:], whole.y[warmup:], CYCLES[warmup:])
    return lasting_losses([settled], [whole], warmup, 200.0, 0.001)


def test_a_leak_in_rare_bursts_goes_on_and_has_its_rate() -> None:
    bursts = np.zeros(240)
    bursts[::13] = 420
    found = losses(np.cumsum(bursts) + BORROWED)
    assert found is not None
    assert found.goes_on
    assert found.low < 420 / 13 < found.high


def test_sessions_that_are_never_closed_show_among_many_that_are() -> None:
    lost = 328 * np.cumsum(RNG.random(240) < 0.2)
    found = losses(SESSIONS + lost)
    assert found is not None
    assert found.goes_on
    assert not found.fades


def test_what_is_borrowed_and_given_back_is_not_lost() -> None:
    wave = 4_000 * np.sin(CYCLES / 15)
    for innocent in (BORROWED, SESSIONS, wave):
        found = losses(innocent)
        assert found is None or not found.goes_on


def test_a_few_features_used_for_the_first_time_are_not_enough() -> None:
    found = losses(sum(900.0 * (first <= CYCLES) for first in (60, 95, 130, 170, 200)) + BORROWED)
    assert found is not None
    assert not found.goes_on


def test_a_table_that_fills_ever_more_slowly_fades() -> None:
    found = losses(np.floor(40 * np.log1p(CYCLES / 5)) * 80)
    assert found is not None
    assert found.fades
    assert not found.goes_on


def test_boots_are_not_joined() -> None:
    """Each boot begins with its own level: what the second one lacks is not lost memory."""
    first = Piece(1, CYCLES[:100], np.full(100, 90_000.0), CYCLES[:100])
    second = Piece(2, CYCLES[:100], np.full(100, 60_000.0), CYCLES[:100])
    assert lasting_losses([first, second], [first, second], 0.0, 0.0, 0.001) is None
