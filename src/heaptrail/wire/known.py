"""What definitions told: the device, its stacks and tasks; and the columns that need them, completed.

A definition holds for its run from before it was sent: a reader that joined late, or lost the first one, fills in what
came earlier when the next repetition arrives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

from heaptrail.model.stream import Events
from heaptrail.wire.definitions import read_hello, read_stacks, read_tasks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from heaptrail.model.stream import Ints, StackDefinition, TaskDefinition
    from heaptrail.wire.definitions import Hello
    from heaptrail.wire.events import Columns

_STACK_BITS = 16
T = TypeVar("T")


class Known:
    """Definitions by run and number.

    Args:
        most: Definitions, and frames of them, that are kept; the rest is counted in `omitted`.
    """

    def __init__(self, most: int) -> None:
        self.stacks: dict[tuple[int, int], StackDefinition] = {}
        self.tasks: dict[tuple[int, int], TaskDefinition] = {}
        self.hello: Hello | None = None
        self.torn = 0
        self.conflicts = 0
        self.omitted = 0
        self._most = most
        self._seen: set[tuple[int, bytes]] = set()
        self._dropped_before = 0

    @property
    def dropped(self) -> int:
        """Events that the device had no room for, over all its runs as far as its greetings tell."""
        return self._dropped_before + (self.hello.dropped if self.hello else 0)

    def greet(self, payload: bytes) -> int | None:
        """Take a greeting; the number of its next event, None for a damaged one."""
        hello = read_hello(payload)
        if hello is None:
            return None
        if self.hello is not None and hello.dropped < self.hello.dropped:  # it began anew
            self._dropped_before += self.hello.dropped
        self.hello = hello
        return hello.event

    def define(self, payload: bytes, run: int, *, stacks: bool) -> None:
        """Take a frame of stacks or tasks; repetitions cost nothing."""
        if (run, payload) in self._seen:
            return
        if len(self.stacks) + len(self.tasks) + len(self._seen) >= self._most:
            self.omitted += 1
            return
        self._seen.add((run, payload))
        if stacks:
            self._keep(self.stacks, read_stacks(payload), run)
        else:
            self._keep(self.tasks, read_tasks(payload), run)

    def _keep(self, kept: dict[tuple[int, int], T], found: dict[int, T] | None, run: int) -> None:
        if found is None:
            self.torn += 1
            return
        for number, definition in found.items():
            self.conflicts += kept.setdefault((run, number), definition) != definition

    def complete(self, columns: Columns) -> Events:
        """Events whose usual sizes and tasks are filled in; -1 where the definition is not known."""
        events = columns.events
        keys = np.array(sorted((run << _STACK_BITS) + number for run, number in self.stacks), dtype=np.int64)
        rows = _rows(keys, events)
        ordered = [self.stacks[int(key) >> _STACK_BITS, int(key) & 0xFFFF] for key in keys]
        # The last entry, which row -1 finds, stands for what was never defined.
        size = np.array([*(stack.usual_size_bytes for stack in ordered), -1], dtype=np.int64)
        task = np.array([*(stack.usual_task for stack in ordered), -1], dtype=np.int16)
        return Events(
            kind=events.kind,
            run=events.run,
            time=events.time,
            birth=events.birth,
            age=events.age,
            address=events.address,
            size=np.where(columns.usual_size, size[rows], events.size),
            stack=events.stack,
            task=np.where(columns.usual_task, task[rows], events.task),
        )


def _rows(keys: Ints, events: Events) -> Ints:
    """The place of each event's stack in the sorted keys, -1 for none."""
    if len(keys) == 0 or len(events) == 0:
        return np.full(len(events), -1, dtype=np.int64)
    if events.run[-1] == 0:  # the usual case, one run: a table beats the search five times
        table: NDArray[np.int64] = np.full(1 << _STACK_BITS, -1, dtype=np.int64)
        first_run = keys < 1 << _STACK_BITS
        table[keys[first_run]] = np.flatnonzero(first_run)
        return table[events.stack]
    wanted = (events.run.astype(np.int64) << _STACK_BITS) + events.stack
    found = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[found] == wanted, found, -1)
