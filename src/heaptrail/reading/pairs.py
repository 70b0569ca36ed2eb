"""Searches a large block for many substrings at once, at a cost that hardly depends on how many there are.

Each substring is represented by that pair of its neighbouring bytes which is rarest in the text at hand. One look-up in
a table of all 65,536 pairs finds where any of them stands; only there are the substrings themselves compared. Python's
own searches take one pass for each substring, and `re` one slow pass for all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]
    Positions = NDArray[np.int64]

_PAIRS = 1 << 16
_SAMPLE_BYTES = 1 << 18
_TOO_COMMON = 1 / 50
"""When more than this share of all positions holds a chosen pair, the text has changed: choose anew."""


class PairSearch:
    """Finds where any of `needles` (each of two bytes at least) stands in a block."""

    def __init__(self, needles: Sequence[bytes]) -> None:
        self._needles = needles
        self._offsets: list[int] = []
        self._codes: list[int] = []
        self._table: NDArray[np.bool_] | None = None

    def positions(self, data: bytes) -> list[int]:
        """Offsets at which a needle stands, in order."""
        block = np.frombuffer(data, dtype=np.uint8)
        if self._table is None:
            self._choose(block)
        assert self._table is not None
        pairs = _pairs(block)
        at: Positions = np.flatnonzero(self._table[pairs])
        if at.size > block.size * _TOO_COMMON:
            self._choose(block)
            at = np.flatnonzero(self._table[pairs])
        codes = pairs[at]
        found = [
            _standing(block, at[codes == code] - offset, needle)
            for needle, offset, code in zip(self._needles, self._offsets, self._codes, strict=True)
        ]
        everywhere: list[int] = np.unique(np.concatenate(found)).tolist() if found else []
        return everywhere

    def _choose(self, block: Bytes) -> None:
        counts = np.bincount(_pairs(block[:_SAMPLE_BYTES]), minlength=_PAIRS)
        self._offsets, self._codes = [], []
        self._table = np.zeros(_PAIRS, dtype=np.bool_)
        for needle in self._needles:
            codes = [needle[i] | needle[i + 1] << 8 for i in range(len(needle) - 1)]
            rarest = min(range(len(codes)), key=lambda i, codes=codes: int(counts[codes[i]]))  # type: ignore[misc]
            self._offsets.append(rarest)
            self._codes.append(codes[rarest])
            self._table[codes[rarest]] = True


def _pairs(block: Bytes) -> NDArray[np.uint16]:
    """The pair that begins at each byte but the last, the first byte in the low half."""
    pairs = block[1:].astype(np.uint16)
    pairs <<= 8
    pairs |= block[:-1]
    return pairs


def _standing(block: Bytes, at: Positions, needle: bytes) -> Positions:
    """Those of the positions at which the needle stands."""
    at = at[(at >= 0) & (at <= block.size - len(needle))]
    for offset, byte in enumerate(needle):
        if not at.size:
            break
        at = at[block[at + offset] == byte]
    return at
