"""Which allocator's rule fits the overheads that a tracer measured."""

from __future__ import annotations

from heaptrail.model.evidence import FootprintRule

_SIZES = 256
_ALIGNMENTS = (16, 8, 4, 1)
_HEADER_UP_TO = 32


class MeasuredOverheads:
    """How much more than was asked for the allocator set aside, by size, for a bounded number of sizes."""

    def __init__(self) -> None:
        self._least: dict[int, int] = {}

    def add(self, requested_bytes: int, overhead_bytes: int) -> None:
        """One block. The least of a size counts: a block is larger where too little of a free one was left to keep."""
        known = self._least.get(requested_bytes)
        if known is not None or len(self._least) < _SIZES:
            self._least[requested_bytes] = overhead_bytes if known is None else min(known, overhead_bytes)

    def rule(self, supposed: FootprintRule | None) -> FootprintRule | None:
        """The supposed rule where nothing measured speaks against it, else the coarsest one that fits every size.

        None of them may fit (blocks of several heaps, say): then it stays with what was supposed.
        """
        if not self._least or (supposed is not None and self._fits(supposed)):
            return supposed
        for align in _ALIGNMENTS:
            for header in range(0, _HEADER_UP_TO + 1, align):
                basis = f"{header}-byte block header, sizes rounded to {align} B, as the tracer measured"
                rule = FootprintRule(header_bytes=header, align_bytes=align, basis=basis)
                if self._fits(rule):
                    return rule
        return supposed

    def _fits(self, rule: FootprintRule) -> bool:
        return all(rule.footprint_bytes(size) == size + overhead for size, overhead in self._least.items())
