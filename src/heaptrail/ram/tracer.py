"""The tables of this project's agent, read straight from an image: a dump without a console.

Offsets and sizes come from the agent's DWARF, so that another configuration or version of it reads as well, as long as
its members have these names (agent/src/ht_store.h). Sums and texts that it only makes when it is asked are not there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from heaptrail.units import plural

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from heaptrail.ram.firmware import Firmware
    from heaptrail.ram.memory import Memory
    from heaptrail.ram.structs import StructLayout

AGENT_MARK = "ht_on_malloc"
_TABLES = "ht"
_STRUCTS = ("ht_state", "ht_record", "ht_site_row", "ht_stack", "ht_thread")
_FILES = ("ht_agent.c", "ht_store.c", "ht_stacks.c", "ht_read.c")
_NEEDED = {
    "ht_state": ("records", "sites", "stacks", "frames", "threads", "site_count", "stack_count"),
    "ht_record": ("address", "requested", "birth", "site", "thread"),
    "ht_site_row": ("stack", "unrecorded"),
    "ht_stack": ("first_frame", "depth"),
    "ht_thread": ("name",),
}
_OFF, _PAUSED = 0, 3
_MAX_DEPTH = 255

Rows = Any
"""A structured numpy array, whose field types the type checker cannot know."""


class TracedBlock(msgspec.Struct, frozen=True):
    """What the agent recorded of a live block: the size asked for, its birth's running number, task and return PCs."""

    requested_bytes: int
    sequence: int
    task: str | None
    frames: tuple[int, ...]


class TracerTables(msgspec.Struct, frozen=True):
    """Live blocks by address, and sentences about what the tables do not hold."""

    blocks: dict[int, TracedBlock]
    problems: tuple[str, ...] = ()


def read_tracer(firmware: Firmware, memory: Memory) -> TracerTables | None:
    """The agent's live blocks; None where the firmware has no agent.

    Never raises: tables that cannot be read are said to be so, and hold no blocks.
    """
    symbol = firmware.variable(_TABLES)
    if symbol is None or firmware.function(AGENT_MARK) is None:
        return None
    layouts = firmware.structs(_STRUCTS, _FILES)
    missing = [
        f"{name}.{member}"
        for name, members in _NEEDED.items()
        for member in members
        if name not in layouts or member not in layouts[name].members
    ]
    if missing:
        what = f"debug information for {missing[0]}" if layouts else "debug information"
        return TracerTables(
            {}, (f"the agent's tables are in the image, but {firmware.name} has no {what} to read them",)
        )
    raw = memory.read(symbol.address, layouts["ht_state"].size)
    if raw is None:
        return TracerTables({}, ("the image does not hold all of the agent's tables",))
    return _Tables(raw, layouts, firmware).read()


class _Tables:
    def __init__(self, raw: bytes, layouts: dict[str, StructLayout], firmware: Firmware) -> None:
        self._raw, self._layouts, self._order, self._word = raw, layouts, firmware.order, firmware.word_bytes
        self._state = layouts["ht_state"]

    def _number(self, name: str) -> int:
        member = self._state.members.get(name)
        if member is None:
            return 0
        at, size = member
        return int.from_bytes(self._raw[at : at + (size or 1)], "little" if self._order == "<" else "big")

    def _rows(self, member: str, struct: str) -> Rows:
        """An array of structs in the state, with the members that are needed as fields."""
        at, size = self._state.members[member]
        layout = self._layouts[struct]
        numbers = {name: layout.members[name] for name in _NEEDED[struct] if layout.members[name][1] in (1, 2, 4, 8)}
        kind = np.dtype(
            {
                "names": list(numbers),
                "formats": [f"{self._order}u{width}" for _, width in numbers.values()],
                "offsets": [offset for offset, _ in numbers.values()],
                "itemsize": layout.size,
            }
        )
        return np.frombuffer(self._raw, kind, count=size // layout.size, offset=at)

    def read(self) -> TracerTables:
        records: Rows = self._rows("records", "ht_record")
        records = records[records["address"] != 0]
        sites, names, stacks = self._rows("sites", "ht_site_row"), self._names(), self._stacks()
        site_count = min(self._number("site_count"), len(sites))
        numbers = sites["stack"][:site_count].tolist()
        columns = (records[name].tolist() for name in ("address", "requested", "birth", "site", "thread"))
        blocks = {
            address: TracedBlock(
                requested_bytes=requested,
                sequence=birth,
                task=names[thread] if thread < len(names) and names[thread] else None,
                frames=stacks.get(numbers[site], ()) if site < site_count else (),
            )
            for address, requested, birth, site, thread in zip(*columns, strict=True)
        }
        unrecorded = int(sites["unrecorded"][:site_count].astype(np.uint64).sum())
        return TracerTables(blocks, tuple(self._problems(unrecorded, blocks=bool(blocks))))

    def _stacks(self) -> dict[int, tuple[int, ...]]:
        """Return addresses of each stack by its number, innermost first."""
        at, size = self._state.members["frames"]
        frames: NDArray[Any] = np.frombuffer(
            self._raw, f"{self._order}u{self._word}", count=size // self._word, offset=at
        )
        rows = self._rows("stacks", "ht_stack")
        count = min(self._number("stack_count") + 1, len(rows))  # number 0 is no stack
        columns = (rows["first_frame"][:count].tolist(), rows["depth"][:count].tolist())
        return {
            number: tuple(frames[first : first + min(depth, _MAX_DEPTH)].tolist())
            for number, (first, depth) in enumerate(zip(*columns, strict=True))
            if number
        }

    def _names(self) -> list[str]:
        """The tasks' names by their place in the table."""
        at, size = self._state.members["threads"]
        layout = self._layouts["ht_thread"]
        offset, width = layout.members["name"]
        found = []
        for first in range(at, at + size, layout.size):
            raw = self._raw[first + offset : first + offset + width]
            found.append(raw.split(b"\0")[0].decode("utf-8", "replace"))
        return found

    def _problems(self, unrecorded: int, *, blocks: bool) -> list[str]:
        problems = []
        mode = self._number("mode")
        if mode in (_OFF, _PAUSED) and blocks:
            what = "off" if mode == _OFF else "paused"
            problems.append(f"the agent was {what}: its tables show blocks as they were when it was last on")
        if unrecorded:
            problems.append(
                f"the agent's pool was full: {plural(unrecorded, 'block')} it only counted, without a backtrace"
            )
        return problems
