"""ESP-IDF's standalone heap trace (`heap_trace_dump`), before and after v5.1.

Source: the format strings of components/heap/heap_trace_standalone.c. A record is one line with the bytes asked for,
the address, the CPU's cycle count and the callers, innermost first, joined by `:`. When fewer callers were found than
the depth, the list ends with `:`. Callers are return addresses; on Xtensa they keep the window bits that the device
printed. A terminal of 80 columns breaks the line, in an address more often than not. `ccount` wraps in seconds and
differs by CPU, so it is no sequence. When the buffer is full the oldest record is dropped.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from heaptrail.dialects.text import HEX, Place, place, problem
from heaptrail.model.observations import Block, Dump, HeapSample, RawFrame

if TYPE_CHECKING:
    from collections.abc import Iterator

    from heaptrail.dialects import Line
    from heaptrail.limits import Limits
    from heaptrail.model.observations import AnyObservation

_HEADER = re.compile(
    r"\b(\d{1,9}) allocations trace \(\d{1,9} entry buffer\)|=+ Heap Trace: (\d{1,9}) records \(\d{1,9} capacity\)"
)
_RECORD = re.compile(
    rf"(?<![\w.])(\d{{1,10}}) bytes \(@ {HEX}(?:,\s*(?:Internal|PSRAM))?\) allocated CPU \d+ ccount 0x[0-9a-fA-F]{{8}}"
    r"(?![0-9a-fA-F])\s*(?:caller\b\s*(?P<pcs>[0-9a-fA-Fx:]*))?\s*(?P<freed>freed\b)?\s*(?P<rest>.*)$"
)
_RECORD_BEGINS = re.compile(r"\d bytes \(@ (?!0x[0-9a-fA-F]+\) allocated,)")
_FREED_BY = re.compile(r"^\s*freed by\b")
_ADDRESSES = re.compile(r"^\s*(?:caller\s+)?([0-9a-fA-Fx:]+)\s*$")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{8}")
_WHOLE_LIST = re.compile(r"0x[0-9a-fA-F]{8}(?::0x[0-9a-fA-F]{8})*:?")
_BROKEN_ADDRESS = re.compile(r"0?|0x[0-9a-fA-F]{0,7}")
_SUMMARY = re.compile(r"\b(\d{1,12}) bytes (?:'leaked'|alive) in trace \((\d{1,9})(?:/\d{1,9})? allocations\)")
_TOTALS = re.compile(r"\btotal (allocations|frees):? (\d{1,12})(?: total frees:? (\d{1,12}))?")
_END = re.compile(r"^\s*={32}\s*$")
_STRANGER = re.compile(r"Heap Trace Log Count|={7,} Heap Trace Summary")
_RECORD_LINES = 12
"""A record broken by the terminal is whole after three lines; so many of other tasks may fall in between."""


class _Open:
    """A record whose callers may go on in the next line."""

    def __init__(self, line: Line, address: int, size_bytes: int) -> None:
        self.where = place(line, "espidf")
        self.address = address
        self.size_bytes = size_bytes
        self.pcs: tuple[int, ...] = ()
        self.tail = ""  # the address that the terminal broke, or what cut the list
        self.ends_in_colon = False
        self.freed = False
        self.is_over = False  # nothing more belongs to the list of callers

    def start(self, text: str, rest: str, most: int) -> None:
        """Take the callers on the record's own line; `rest` is what stands behind them."""
        known = _whole_list(text) if text else None
        if known is not None:
            self.pcs = known[: most + 1]
            self.ends_in_colon = text.endswith(":")
        elif text and not self._add(text, most, least=0):
            self.tail = text
        if rest:
            self.tail = self.tail or rest
        self.is_over = bool(rest)

    def go_on(self, line: Line, text: str, most: int) -> None:
        """Take the callers on a line of nothing but addresses, if it continues the list."""
        if self.is_over:
            return
        if self.tail:
            self._add(self.tail + text, most, least=1)
        elif self.ends_in_colon or (not self.pcs and line.number == self.where["line"] + 1):
            self._add(text, most, least=1)
        elif self.pcs and text.startswith(":"):
            self._add(text[1:], most, least=1)

    def _add(self, text: str, most: int, *, least: int) -> bool:
        """Take addresses in, `least` of them whole; False when the text is no list, and then nothing is taken."""
        *whole, last = text.split(":")
        if _ADDRESS.fullmatch(last):
            whole.append(last)
            last = ""
        if len(whole) < least or not all(map(_ADDRESS.fullmatch, whole)) or not _BROKEN_ADDRESS.fullmatch(last):
            return False
        self.pcs = (*self.pcs, *(int(piece, 16) for piece in whole))[: most + 1]
        self.tail = last
        self.ends_in_colon = text.endswith(":")
        return True


class Trace:
    """One dump at a time; blocks are given out when their list of callers is over, the dump itself behind them."""

    def __init__(self, limits: Limits, dumps: Iterator[int]) -> None:
        self._limits = limits
        self._dumps = dumps
        self._record: _Open | None = None
        self._head: Line | None = None
        self._left = 0
        self._stranger = False
        self._forget()

    def _forget(self) -> None:
        self._where: Place | None = None
        self._number = 0
        self._declared: int | None = None
        self._live: tuple[int, int] | None = None
        self._totals: dict[str, int] = {}
        self._totals_at: Place | None = None
        self._records = 0
        self._live_seen = [0, 0]
        self._whole = True
        self._told_limit = False

    @property
    def wants(self) -> int:
        """Lines to be fed whatever they hold: the halves of broken lines hold no key word."""
        return self._left

    def tick(self, line: Line) -> list[AnyObservation]:
        """A line has passed: what was not continued for long enough is over."""
        self._left = max(0, self._left - 1)
        over = self._live is not None and self._left == 0
        if self._where is not None and (over or self._where["boot"] != line.boot):
            return self.close()
        if self._head is not None and self._left == 0:
            head, self._head = self._head, None
            return self._torn(head)
        return []

    def read(self, line: Line) -> list[AnyObservation] | None:
        """What this line completes; None when it is none of a heap trace."""
        taken = None
        if not self._stranger and (self._head is not None or " bytes (@ " in line.text):
            taken = self._record_line(line)
        if taken is None and self._record is not None:
            taken = self._callers(line)
        if taken is None:
            taken = self._heading(line)
        return self._tail_line(line) if taken is None else taken

    def _heading(self, line: Line) -> list[AnyObservation] | None:
        match = _HEADER.search(line.text)
        if match is None:
            if not _STRANGER.search(line.text):
                return None
            self._stranger = True  # the same words in another system's trace, read there
            return self.close() or None
        found = self.close()
        self._stranger = False
        self._open(line)
        self._declared = int(match[1] or match[2])
        self._left = _RECORD_LINES
        return found

    def _open(self, line: Line) -> None:
        if self._where is None:
            self._where = place(line, "espidf")
            self._number = next(self._dumps)

    def _record_line(self, line: Line) -> list[AnyObservation] | None:
        """A record, whole, begun, or continued; None when the line is neither."""
        head, start = self._head, line
        match = _RECORD.search(line.text)
        if match is None and head is None and not _RECORD_BEGINS.search(line.text):
            return None
        if head is not None and not _RECORD_BEGINS.search(line.text):
            match = _joined(head.text.rstrip(), line.text.strip())
            if match is None:
                return None  # another task's line
            start = head
        elif match is not None and match["rest"] and "caller".startswith(match["rest"]):
            match = None  # the terminal broke this word
        found = self._close_record()
        if head is not None and start is not head:
            found += self._torn(head)
        self._head = line if match is None else None
        self._left = _RECORD_LINES
        if match is None:
            return found
        self._open(start)
        self._records += 1
        self._record = _Open(start, int(match[2], 16), int(match[1]))
        self._record.freed = match["freed"] is not None
        self._record.start(match["pcs"] or "", match["rest"], self._limits.frames_per_block)
        return found

    def _torn(self, line: Line) -> list[AnyObservation]:
        self._open(line)
        self._whole = False
        return [problem(place(line, "espidf"), "torn_record", "a record of the heap trace is torn and left out")]

    def _callers(self, line: Line) -> list[AnyObservation] | None:
        record = self._record
        assert record is not None
        if _FREED_BY.match(line.text):
            record.freed = record.is_over = True
            self._left = _RECORD_LINES
            return []
        match = _ADDRESSES.match(line.text)
        if match is None:
            return None
        record.go_on(line, match[1], self._limits.frames_per_block)
        return []

    def _tail_line(self, line: Line) -> list[AnyObservation] | None:
        """The lines behind the records."""
        text = line.text
        match = _SUMMARY.search(text)
        if match is not None and not self._stranger:
            found = self._close_record()
            self._open(line)
            self._live = (int(match[1]), int(match[2]))
            self._left = _RECORD_LINES
            return found
        if self._where is None:
            return None
        match = _TOTALS.search(text)
        if match is not None:
            self._totals_at = self._totals_at or place(line, "espidf")
            self._totals[match[1]] = int(match[2])
            if match[3] is not None:
                self._totals["frees"] = int(match[3])
            self._left = _RECORD_LINES
            return self._close_record()
        if self._live is not None and _END.match(text):
            return self.close()
        return self._note(line)

    def _note(self, line: Line) -> list[AnyObservation] | None:
        if "(NB: " in line.text and "overflowed" in line.text:
            self._whole = False
            what, text = "overflow", "the heap trace's buffer overflowed: the oldest records were dropped"
        elif "(NB: " in line.text and "duplicate" in line.text:
            what, text = "duplicate_entries", "allocations went on during the dump: a block may be listed twice"
        elif "heap trace linked list is corrupt" in line.text:
            self._whole = False
            what, text = "corrupt", "the tracer found its own list of records corrupt; records are missing"
        else:
            return None
        return [*self._close_record(), problem(place(line, "espidf"), what, text)]

    def _close_record(self) -> list[AnyObservation]:
        record, self._record = self._record, None
        if record is None:
            return []
        found: list[AnyObservation] = []
        if not record.freed:
            self._live_seen[0] += record.size_bytes
            self._live_seen[1] += 1
        if record.tail:
            self._whole = False
            text = f"the callers of the block at 0x{record.address:08x} are torn; its stack is kept up to there"
            found.append(problem(record.where, "torn_record", text))
        limit = self._limits.frames_per_block
        if len(record.pcs) > limit:
            text = f"the block at 0x{record.address:08x} has more than {limit} frames; the rest is cut"
            found.append(problem(record.where, "too_many", text))
        if self._records > self._limits.records_per_dump:
            self._whole = False
            if self._told_limit:
                return []
            self._told_limit = True
            text = f"the dump has more than {self._limits.records_per_dump:,} records; the rest is left out"
            return [problem(record.where, "too_many", text)]
        block = Block(
            dump=self._number,
            address=record.address,
            size_bytes=record.size_bytes,
            size_kind="requested",
            freed=record.freed,
            frames=_frames(record.pcs[:limit]),
            **record.where,
        )
        return [*found, block]

    def close(self) -> list[AnyObservation]:
        """End the dump that is open, if any."""
        found = self._close_record()
        head, self._head = self._head, None
        if head is not None:
            found += self._torn(head)
        where = self._where
        if where is None:
            return found
        lacking = (self._declared or 0) - self._records
        if self._declared is None and self._live is not None:
            lacking = self._live[1] - self._records
        if lacking > 0:
            self._whole = False
            text = f"the heap trace says that it has {lacking:,} more records than can be read here"
            found.append(problem(where, "missing_records", text))
        elif self._live is not None and self._whole and self._live != tuple(self._live_seen):
            self._whole = False
            text = f"the live records add up to {self._live_seen[0]:,} bytes, the trace says {self._live[0]:,}"
            found.append(problem(where, "torn_record", text))
        if self._totals_at is not None:
            # Counted since the trace began, freed blocks that it never saw included: no reading of a heap.
            allocations, frees = self._totals.get("allocations"), self._totals.get("frees")
            found.append(HeapSample(heap="heap trace", allocations=allocations, frees=frees, **self._totals_at))
        is_known = self._declared is not None and self._live is not None
        found.append(
            Dump(
                dump=self._number,
                declared_blocks=self._live[1] if self._live is not None else self._declared,
                declared_bytes=self._live[0] if self._live is not None else None,
                complete=False if not self._whole else True if is_known else None,
                **where,
            )
        )
        self._forget()
        self._left = 0
        return found


def _joined(head: str, line: str) -> re.Match[str] | None:
    """A record that the terminal broke before its callers; a blank at the break may be lost."""
    for joint in ("", " "):
        match = _RECORD.search(head + joint + line)
        if match is not None and (match["pcs"] or match["freed"]) and not match["rest"]:
            return match
    return None


@lru_cache(maxsize=16_384)
def _whole_list(text: str) -> tuple[int, ...] | None:
    """The addresses of a list that is whole, None for any other. A dump repeats few stacks in many records."""
    if not _WHOLE_LIST.fullmatch(text):
        return None
    return tuple(int(piece, 16) for piece in text.split(":") if piece)


@lru_cache(maxsize=16_384)
def _frames(pcs: tuple[int, ...]) -> tuple[RawFrame, ...]:
    """The frames of a stack, the same object for the same stack: a million blocks share some thousand of them."""
    return tuple(RawFrame(pc=pc, kind="return") for pc in pcs)
