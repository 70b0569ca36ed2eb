"""Which readings were taken while the workload ran.

A workload's start takes memory for its stacks and buffers and its end gives that back. Those steps are no part of a
trend over cycles, so where the capture marks the start and the stop, only readings between them are compared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from heaptrail.model.observations import HeapSample, SiteCount

if TYPE_CHECKING:
    from collections.abc import Sequence

    from heaptrail.model.observations import Mark

Read = TypeVar("Read", HeapSample, SiteCount)


def readings_while_running(samples: Sequence[Read], marks: Sequence[Mark]) -> Sequence[Read]:
    """The readings between `workload start` and `workload stop` of each boot; all of a boot that has no such mark.

    When nothing at all would be left, all readings are given back: they are better than none, and the verdict's own
    limits on few readings hold.
    """
    edges = sorted((mark.boot, mark.line, mark.label) for mark in marks if mark.what == "step" and mark.label in _EDGES)
    if not edges:
        return samples
    starting_boots = {boot for boot, _, label in edges if label == "workload start"}
    running: dict[int, bool] = {}
    kept: list[Read] = []
    position = 0
    for sample in samples:
        while position < len(edges) and edges[position][:2] <= (sample.boot, sample.line):
            boot, _, label = edges[position]
            running[boot] = label == "workload start"
            position += 1
        if running.get(sample.boot, sample.boot not in starting_boots):
            kept.append(sample)
    return kept or samples


_EDGES = frozenset({"workload start", "workload stop"})
