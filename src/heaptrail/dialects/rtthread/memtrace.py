"""RT-Thread's listings of heap items: `memtrace` (small memory) and `memheaptrace` (memheap).

Source: src/mem.c and src/memheap.c. Each item is `[0x%08x - %5d] %c%c%c%c`: the address is that of the item's HEADER
(kept as printed; the caller's pointer lies one header behind it), the size is what the caller can use, in whole K above
1023 bytes and whole M above 1 MiB, the owner is the first four characters of a thread's name, blank for free memory and
`NONE` before the scheduler ran. Items follow each other without a gap, so the listing shows its header and its losses.
The lines in front of it, in 5.x, print DECIMAL totals behind a false `0x`; those of a memheap are hexadecimal.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from heaptrail.dialects.dumps import Chain, Dumps
from heaptrail.dialects.text import PROMPT, Place, place, problem
from heaptrail.model.observations import HeapSample
from heaptrail.units import plural

if TYPE_CHECKING:
    from heaptrail.dialects import Line
    from heaptrail.limits import Limits
    from heaptrail.model.observations import AnyObservation

_BEGINS = re.compile(r"\bmemory heap address\s*:\s*$")
_FIGURE = re.compile(
    r"(?:^|[\s>])(name|total|used|max_used|free|size|(?:h->)?heap_ptr|(?:h->)?lfree|(?:h->)?heap_end)\s*:\s*(\S.{0,31}?)\s*$"
)
_LISTING = re.compile(r"--\s*memory (item|used) information\s*--")
_ITEM = re.compile(
    r"\[\s*(?:0[xX]){0,2}(?P<address>[0-9a-fA-F]{8,16})\s+-\s*(?P<size>\d{1,10})(?P<tenth>\.\d)?(?P<unit>[KM]?)\s*\]"
    r" ?(?P<owner>[^:]{0,8}?)\s*(?P<bad>:\s*\*\*\*)?\s*$"
)
_BAD_ITEM = re.compile(r"\[\s*(?:0[xX]){0,2}([0-9a-fA-F]{8,16})\s+-\s+incorrect magic")
_ITEM_BEGINS = re.compile(r"^\s*\[\s*0[xX][0-9a-fA-F]+\s+-")
_HEX = re.compile(r"^0[xX]([0-9a-fA-F]{1,16})$")
_COMMAND = re.compile(r"^\s*(?:msh|finsh) [^>\s]{0,64}>")
_UNITS = {"": 1, "K": 1024, "M": 1 << 20}
_LISTING_LINES = 200
"""So many lines of other tasks may fall between two lines of a listing before it is given up."""


class Memtrace:
    """One listing at a time, with the totals in front of it."""

    def __init__(self, limits: Limits) -> None:
        self._dumps = Dumps("rtthread", limits)
        self.header_bytes: int | None = None
        self._forget()

    def _forget(self) -> None:
        self._where: Place | None = None
        self._figures: dict[str, str] = {}
        self._chain = Chain()
        self._listed = False
        self._whole = True
        self._rounded = 0
        self._last_line = 0

    @property
    def wants(self) -> int:
        """Lines to be fed whatever they hold."""
        return 32 if self._where is not None else 0

    def read(self, line: Line) -> list[AnyObservation] | None:
        """What this line of a listing completes; None when it is none of a listing."""
        text = line.text
        if _BEGINS.search(text):
            found = self.close()
            self._where = place(line, "rtthread")
            self._last_line = line.number
            return found
        if _LISTING.search(text):
            return self._begin_items(line)
        if self._where is None:
            return None
        if line.number - self._last_line > _LISTING_LINES or PROMPT.match(text) or _COMMAND.match(text):
            return self.close()
        if not self._listed:
            match = _FIGURE.search(text)
            if match is not None:
                self._figures[match[1].removeprefix("h->")] = match[2]
                self._last_line = line.number
            return None if match is None else []
        return self._item(line)

    def _begin_items(self, line: Line) -> list[AnyObservation]:
        found: list[AnyObservation] = []
        if self._where is None or self._listed:
            found = self.close()
            self._where = place(line, "rtthread")
        found += self._sample()
        self._listed = True
        self._last_line = line.number
        start = _address(self._figures.get("heap_ptr"))
        if start is not None and "lfree" in self._figures:  # a memheap prints another address under this name
            self._chain.start(start)
        self._dumps.open(self._where or place(line, "rtthread"))
        return found

    def _sample(self) -> list[AnyObservation]:
        figures, where = self._figures, self._where
        if where is None:
            return []
        total, used, highest = (_decimal(figures, key) for key in ("total", "used", "max_used"))
        free: int | None = None
        if "size" in figures:
            total, highest, free = (_address(figures.get(key)) for key in ("size", "max_used", "free"))
        if total is None or (used is None and free is None):
            return []
        if max(used or 0, free or 0, highest or 0) > total:
            text = "the totals of the listing contradict themselves; they are left out"
            return [problem(where, "torn_record", text)]
        return [
            HeapSample(
                heap=figures.get("name"),
                total_bytes=total,
                used_bytes=used,
                max_used_bytes=highest,
                free_bytes=free,
                **where,
            )
        ]

    def _item(self, line: Line) -> list[AnyObservation] | None:
        where = place(line, "rtthread")
        match = _ITEM.search(line.text)
        if match is None:
            bad = _BAD_ITEM.search(line.text)
            if bad is None and not _ITEM_BEGINS.match(line.text):
                return None
            self._whole = False
            self._last_line = line.number
            if bad is not None:
                return [problem(where, "corrupt", f"the item at 0x{bad[1].lower()} has no valid magic number")]
            return [problem(where, "torn_record", "a line of the listing is torn and left out")]
        self._last_line = line.number
        address, unit = int(match["address"], 16), _UNITS[match["unit"]]
        size_bytes = int(match["size"]) * unit + (int(match["tenth"][1:]) * unit // 10 if match["tenth"] else 0)
        slack = 0 if unit == 1 else unit // (10 if match["tenth"] else 1) - 1
        if match["bad"]:
            self._whole = False
            return [problem(where, "corrupt", f"the item at 0x{address:08x} has no valid magic number")]
        self._chain.add(address, size_bytes, slack)
        owner = match["owner"].strip()
        if not owner:
            return []
        self._rounded += slack > 0
        return self._dumps.add(
            where,
            address=address,
            size_bytes=size_bytes,
            size_kind="requested",
            task=None if owner == "NONE" else owner,
        )

    def close(self) -> list[AnyObservation]:
        """The listing is over."""
        if self._where is None:
            return []
        if not self._listed:
            found = self._sample()
            self._forget()
            return found
        found = []
        end = _address(self._figures.get("heap_end"))
        if end is not None:
            self._chain.end(end)
        self.header_bytes = self._chain.header_bytes or self.header_bytes
        if self._chain.misfits:
            text = f"the listing has {plural(self._chain.misfits, 'gap')} between its items: lines are missing"
            found.append(problem(self._where, "missing_records", text))
        if self._rounded:
            text = (
                f"{plural(self._rounded, 'size')} printed in whole K or M: each such block may be larger than it says"
            )
            found.append(problem(self._where, "rounded_sizes", text))
        whole = None if end is None and not self._chain.misfits else not self._chain.misfits
        found += self._dumps.close(complete=whole if self._whole else False)
        self._forget()
        return found


def _address(printed: str | None) -> int | None:
    match = None if printed is None else _HEX.match(printed)
    return None if match is None else int(match[1], 16)


def _decimal(figures: dict[str, str], key: str) -> int | None:
    """A total of small memory: decimal digits, in most versions behind `0x`.

    A version that really prints hexadecimal shows itself by a letter in one of the three totals.
    """
    printed = [figures.get(each, "").lower().removeprefix("0x") for each in ("total", "used", "max_used")]
    digits = figures.get(key, "").lower().removeprefix("0x")
    if all(each.isdigit() for each in printed if each):
        return int(digits) if digits.isdigit() else None
    return _address(figures.get(key))
