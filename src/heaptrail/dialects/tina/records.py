"""The listings of live blocks: `memleak 0`, `memleak show`, `memallocate NAME`, and the layout of older documents.

Source: the firmware's own format strings. A record is `%03d: ptr = 0x%08x, size = 0x%08x, thread = %s` and one line
`backtrace : 0x%p` for each frame, call addresses, innermost first, none for a NULL frame. Lines of other tasks fall in
between; a line that was cut is never completed by guessing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from heaptrail.dialects import Run
from heaptrail.dialects.text import HEX, NAME_CHARACTERS, Place, number_ranges, place, problem
from heaptrail.model.observations import Block, Dump, RawFrame

if TYPE_CHECKING:
    from heaptrail.dialects import Line
    from heaptrail.limits import Limits
    from heaptrail.model.observations import AnyObservation

_RECORD = re.compile(
    rf"(\d{{1,9}})\s*:\s*ptr\s*=\s*{HEX}\s*,\s*size\s*=\s*{HEX}\s*(?:,\s*thread\s*=\s*(.*?)\s*|\.?\s*)$"
)
_RECORD_BEGINS = re.compile(r"\d{3}\s*:\s*ptr\b")
_RECORD_PIECE = re.compile(r"^\s*\d{3,9}\s*:\s*(?:p|pt)?$|\bptr\s*=\s*0[xX].*\bsize\s*=\s*0[xX]")
_WHOLE = re.compile(
    rb" {0,16}(\d{3,9}): ptr = 0x([0-9a-fA-F]{8}), size = 0x([0-9a-fA-F]{8}), "
    rb"thread = (?!\(null\))([!-~](?:[ -~]{0,29}[!-~])?)\r?\n"
    rb"((?: {0,16}backtrace : 0x[0-9a-fA-F]{8}\r?\n){0,64})(?= {0,16}\d{3,9}: ptr = 0x)"
)
"""A record as it is printed while nothing else is, with the next one behind it, so that it is known to be whole."""
_PC = re.compile(rb"0x([0-9a-fA-F]{8})")
_STACKS = 65_536
"""So many distinct stacks are kept to be shared by the blocks that have them."""
_RUN_RECORDS = 4_096
"""More are not read in one go, so that what is found is handed on soon."""
_FRAME = re.compile(r"backtrace\s*:\s*(0[xX])(0[xX])?([0-9a-fA-F]{1,16})(?![0-9a-zA-Z_])\s*(:|$)?")
_FRAME_BEGINS = re.compile(r"race\s*:\s*0[xX]|backtrace\s*:|^\s*back(?!\w* ?fail)\w*\s*$")
_FRAME_FAILED = re.compile(r"backtrace\s*(?:fail|:\s*invalid|:\s*\(nil\))")
_ADDRESS_DIGITS = 8
_FEWEST_DIGITS = 4
_RECORD_LINES = 200
"""A record has at most some dozens of lines; a frame this far behind belongs to something else, such as a crash."""


class _Open:
    """A record whose frames are still coming."""

    def __init__(self, line: Line, number: int, address: int, size_bytes: int, task: str | None) -> None:
        self.where = place(line, "tina")
        self.number = number
        self.address = address
        self.size_bytes = size_bytes
        self.task = task
        self.frames: list[RawFrame] = []
        self.prefix: str | None = None
        self.last_line = line.number
        self.torn = False


class Listing:
    """One dump at a time; blocks are given out as they are completed, the dump's own record when it is over."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._dumps = 0
        self._asked: Place | None = None
        self._asked_was_on = False
        self._task: str | None = None
        self._record: _Open | None = None
        self._stacks: dict[bytes, tuple[RawFrame, ...]] = {}
        self._names: dict[bytes, str] = {}
        self.wide = False
        self.narrow = False
        self._forget()

    def _forget(self) -> None:
        self._where: Place | None = None
        self._last_number = 0
        self._blocks = 0
        self._gaps: list[tuple[int, int]] = []
        self._whole = True
        self._first_pcs: set[int] = set()
        self._interrupted = False

    def ask(self, line: Line, *, tracer_on: bool, task: str | None = None) -> list[AnyObservation]:
        """A command was typed that lists blocks; `task` where it lists those of one task only."""
        found = self.close(over=True)
        self._asked = place(line, "tina")
        self._asked_was_on = tracer_on
        self._task = task
        return found

    @property
    def waits(self) -> bool:
        """Whether a listing is open or asked for."""
        return self._where is not None or self._asked is not None

    @property
    def runs(self) -> bool:
        """Whether a listing is open that nothing has interrupted."""
        return self._where is not None and not self._interrupted

    def run(self, data: bytes, at: int, stop: int, line: Line) -> Run | None:
        """Read whole records in one go, as long as each number follows the last."""
        if not self.runs:
            return None
        where = place(line, "tina")
        number, number_of_line = self._last_number, line.number
        room = min(self._limits.records_per_dump - self._blocks - 1, _RUN_RECORDS)
        first_pcs = self._first_pcs
        found: list[AnyObservation] = []
        while len(found) < room and (match := _WHOLE.match(data, at, stop)) is not None:
            digits, address, size, task, stack = match.groups()
            frames = self._stacks.get(stack)
            if frames is None:
                frames = self._stack(stack)
            if int(digits) != number + 1 or len(frames) > self._limits.frames_per_block:
                break
            number += 1
            if frames:
                first_pcs.add(frames[0].pc)
            where["line"] = number_of_line
            found.append(
                Block(
                    dump=self._dumps,
                    address=(value := int(address, 16)),
                    size_bytes=int(size, 16),
                    size_kind="requested",
                    task=self._names.setdefault(task, task.decode("ascii")),
                    frames=frames,
                    **where,
                )
            )
            self.narrow |= value % 16 != 0
            number_of_line += 1 + stack.count(b"\n")
            at = match.end()
        if not found:
            return None
        self._last_number = number
        before = self._close_record()
        self._blocks += len(found)
        return Run(at, number_of_line - line.number, [*before, *found])

    def _stack(self, printed: bytes) -> tuple[RawFrame, ...]:
        """The frames of a stack as it is printed; equal ones are one object, since a listing repeats few stacks."""
        if len(self._stacks) >= _STACKS:
            self._stacks.clear()
            self._names.clear()
        pcs = [int(digits, 16) for digits in _PC.findall(printed)]
        frames = self._stacks[printed] = tuple(RawFrame(pc=pc, kind="call") for pc in pcs if pc)
        return frames

    def give_up(self) -> list[AnyObservation]:
        """The agent announces a dump, which its own dialect reads where it is asked: nothing is expected here."""
        found = self.close(over=True) if self._where is not None else self._close_record()
        self._asked = None
        return found

    def interrupt(self) -> None:
        """Another table was printed: the listing goes on only if the next number follows the last."""
        self._interrupted = self._where is not None

    def distrust(self) -> None:
        """Blocks are live that this listing does not show."""
        self._whole = False

    def record(self, line: Line) -> list[AnyObservation] | None:
        """The first line of a record, whole or torn; None when the line is neither."""
        match = _RECORD.search(line.text)
        number = None if match is None else self._number(match[1])
        if match is None or number is None or min(len(match[2]), len(match[3])) < _ADDRESS_DIGITS:
            return self._torn_record(line)
        if match[4] is None and len(match[3]) < len(match[2]):  # both are printed with the same width
            return self._torn_record(line)
        found: list[AnyObservation] = []
        if self._where is not None and (
            number <= self._last_number or (self._interrupted and number != self._last_number + 1)
        ):
            found += self.close(over=True)
        self._interrupted = False
        if number > self._last_number + 1:
            self._gaps.append((self._last_number + 1, number - 1))
            found += self._cut_strangers()
        found += self._close_record()
        if self._where is None:
            self._where = place(line, "tina")
            self._dumps += 1
        self._last_number = number
        self._widths(match[2], match[3])
        task, problems = self._task_of(line, number, match[4])
        found += problems
        self._record = _Open(line, number, int(match[2], 16), int(match[3], 16), task)
        return found

    def _number(self, digits: str) -> int | None:
        """The record's number, None when its head was lost.

        Three digits are printed at least. A web page's line number may be glued in front of them.
        """
        number, expected = int(digits), self._last_number + 1
        if len(digits) < 3:
            return expected if expected % 10 ** len(digits) == number else None
        if len(digits) > 3 and number != expected and int(digits[-3:]) in (1, expected):
            return int(digits[-3:])
        return number

    def _widths(self, address: str, size: str) -> None:
        self.wide |= max(len(address), len(size)) > _ADDRESS_DIGITS
        self.narrow |= len(address) == _ADDRESS_DIGITS and int(address, 16) % 16 != 0

    def _task_of(self, line: Line, number: int, name: str | None) -> tuple[str | None, list[AnyObservation]]:
        if name is None:
            return self._task, []
        if name in {"", "(null)"}:
            return None, []
        if len(name) > NAME_CHARACTERS:
            text = f"the task's name in record {number:03d} runs into another line; it is left out"
            return None, [problem(place(line, "tina"), "torn_record", text)]
        return name, []

    def _torn_record(self, line: Line) -> list[AnyObservation] | None:
        if not _RECORD_BEGINS.search(line.text) and (self._where is None or not _RECORD_PIECE.search(line.text)):
            return None
        found = self._close_record()
        if self._where is None:
            self._where = place(line, "tina")
            self._dumps += 1
        self._whole = False
        text = "the first line of a record is torn; the record and its frames are left out"
        return [*found, problem(place(line, "tina"), "torn_record", text)]

    def frame(self, line: Line) -> list[AnyObservation] | None:
        """A line of a backtrace; None when it is none, or none of this listing."""
        record = self._record
        if record is None:
            return None
        if line.number - record.last_line > _RECORD_LINES:
            return self._close_record()
        if _FRAME_FAILED.search(line.text):
            record.last_line = line.number
            return []
        frame, prefix = read_frame(line.text)
        if frame is None:
            return self._torn_frame(line, record) if _FRAME_BEGINS.search(line.text) else None
        if record.prefix not in (None, prefix):
            return self._close_record()  # `0X` behind `0x`: a report of another kind (double free, crash)
        record.prefix = prefix
        record.last_line = line.number
        return self._add(line, record, frame)

    def _add(self, line: Line, record: _Open, frame: RawFrame) -> list[AnyObservation]:
        if record.torn or frame.pc == 0:
            return []
        if len(record.frames) >= self._limits.frames_per_block:
            record.torn = True
            text = f"record {record.number:03d} has more than {self._limits.frames_per_block} frames; the rest is cut"
            return [problem(place(line, "tina"), "too_many", text)]
        self.wide |= frame.pc > 0xFFFF_FFFF
        record.frames.append(frame)
        return []

    def _torn_frame(self, line: Line, record: _Open) -> list[AnyObservation]:
        record.last_line = line.number
        if record.torn:
            return []
        record.torn = True
        text = f"a frame of record {record.number:03d} is torn; its stack is kept up to there"
        return [problem(place(line, "tina"), "torn_record", text)]

    def _cut_strangers(self) -> list[AnyObservation]:
        """Drop frames of a record whose first line was lost.

        They begin with the tracer's or allocator's own address, which is the first of every stack and never an outer
        frame of one.
        """
        record = self._record
        if record is None or not record.frames:
            return []
        firsts = self._first_pcs | {record.frames[0].pc}
        for at in range(1, len(record.frames)):
            if record.frames[at].pc in firsts:
                del record.frames[at:]
                text = f"the frames of a lost record follow those of {record.number:03d}; they are left out"
                return [problem(record.where, "torn_record", text)]
        return []

    def _close_record(self) -> list[AnyObservation]:
        record, self._record = self._record, None
        if record is None:
            return []
        if record.frames:
            self._first_pcs.add(record.frames[0].pc)
        self._blocks += 1
        if self._blocks > self._limits.records_per_dump:
            if self._blocks > self._limits.records_per_dump + 1:
                return []
            self._whole = False
            text = f"the listing has more than {self._limits.records_per_dump:,} records; the rest is left out"
            return [problem(record.where, "too_many", text)]
        return [
            Block(
                dump=self._dumps,
                address=record.address,
                size_bytes=record.size_bytes,
                size_kind="requested",
                task=record.task,
                frames=tuple(record.frames),
                **record.where,
            )
        ]

    def close(self, *, over: bool) -> list[AnyObservation]:
        """End the listing: `over` when what follows shows that it was printed to its end."""
        found = self._close_record()
        asked, self._asked = self._asked, None
        if self._where is None:
            if asked is not None and self._asked_was_on and over:
                self._dumps += 1
                found.append(Dump(dump=self._dumps, complete=self._whole, **asked))
            self._forget()
            return found
        if self._gaps:
            text = f"the listing lacks the records {number_ranges(self._gaps)}"
            found.append(problem(self._where, "missing_records", text))
        complete = False if self._gaps or not self._whole else True if over else None
        found.append(Dump(dump=self._dumps, complete=complete, **self._where))
        self._forget()
        return found


def read_frame(text: str) -> tuple[RawFrame | None, str]:
    """The frame on a line and its prefix (`0x`, `0X`); None when there is none, or when it lost digits."""
    match = _FRAME.search(text)
    if match is None:
        return None, ""
    prefix, doubled, digits, end = match.groups()
    # `0x%p` pads to 8 digits under the vendor's printf. Under newlib it has two prefixes and no padding, so a short
    # number is whole only when the line ends behind it.
    if len(digits) < _ADDRESS_DIGITS and not (doubled and end is not None and len(digits) > _FEWEST_DIGITS):
        return None, prefix
    return RawFrame(pc=int(digits, 16), kind="call"), prefix
