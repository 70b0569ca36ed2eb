"""NuttX's listings of heap nodes: `memdump used`, `memdump PID`, `memdump leak` and so on, in all their layouts.

Source: mm/mm_heap/mm_memdump.c from 2022 on. A title, a heading, one line for each node, and two lines of totals, all
through syslog. The columns grew over the years (`Address Size`, `Size Address`, `PID Size Address Backtrace`, then
`Sequence`, then `Overhead`), so the heading says what a number is. A size holds the node's own overhead. Frames are
return addresses, all printed with the same width. The listing is printed while the system runs on.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from heaptrail.dialects.dumps import Dumps, return_frames
from heaptrail.dialects.text import HEX, NAME_CHARACTERS, Place, place, problem
from heaptrail.units import plural

if TYPE_CHECKING:
    from heaptrail.dialects import Line
    from heaptrail.dialects.nuttx.tables import TaskTable
    from heaptrail.limits import Limits
    from heaptrail.model.observations import AnyObservation

_TITLE = re.compile(
    r"\bMemdump (?P<which>leak|mempool|task|biggest)\b(?P<rest>.*)$"
    r"|\bDump all (?P<all>used|free) memory node info"
    r"|\bDump allocated (?P<orphan>orphan) nodes?\b"
    r"|\bDump (?P<leak>leak) memory\("
)
_TASK_NAME = re.compile(r"name:\s*(\S.*?)\s*$")
_COMMAND = re.compile(r"[>#$]\s*memdump\s+([\w-]+)\s+(\d{1,20})(?:\s+(\d{1,20}))?\s*$")
_ASKED = re.compile(r"[>#$]\s*(?:memdump\s+(\d{1,6})\b|echo\s+(\d{1,6})\s*>\s*/proc/memdump)")
_COLUMNS = {
    "PID": r"(?P<pid>-?\d{1,6})",
    "Size": r"(?P<size>\d{1,12})",
    "Overhead": r"(?P<overhead>\d{1,6})",
    "Sequence": r"(?P<sequence>\d{1,20})",
    "Address": rf"(?P<address>{HEX})",
    "Backtrace": "",
    "Callstack": "",
}
_HEADING = re.compile(rf"(?:^|[\]:>\s])((?:PID|Size|Address)(?:\s+(?:{'|'.join(_COLUMNS)}))+)\s*$")
_TOTALS_HEADING = re.compile(r"\bTotal Blks\s+Total Size\s*$")
_TOTALS = re.compile(r"(?:^|[\]:>\s])(\d{1,12})\s+(\d{1,15})\s*$")
_ONLY_NUMBERS = re.compile(r"^[\s\dA-Fa-fx]*\d\s+0x[0-9a-fA-F]{6}[\s\dA-Fa-fx]*$")
_ONLY_FRAMES = re.compile(
    r"^\s*(?P<head>[0-9a-fA-F]{0,15})(?P<frames>(?:\s+0x[0-9a-fA-F]{1,16}|^0x[0-9a-fA-F]{1,16})*)\s*$"
)
_ROW_CHARACTERS = " 0123456789abcdefABCDEFx-"
_FEWEST_CHARACTERS = 7
_USUAL_CHARACTERS = 10
"""`0x` and eight digits."""
_NEWEST = ("PID", "Size", "Overhead", "Sequence", "Address", "Backtrace")
_OWNERS_SHOWN = 6
_LISTING_LINES = 400
"""So many lines of other tasks may fall between two lines of a listing before it is given up."""
_FILTERS = {
    "leak": "the listing is of blocks whose owner has ended only",
    "mempool": "the listing is of the chunks of memory pools only",
    "orphan": "the listing is of blocks beside free memory only",
}


class _Node:
    """A line of the listing; the rest of its frames may stand on the next line."""

    def __init__(self, line: Line, match: re.Match[str], task: str | None) -> None:
        figures = match.groupdict()
        self.where = place(line, "nuttx")
        self.line = line.number
        self.address = int(match["address"].lower().replace("0x", ""), 16)
        self.size_bytes = int(match["size"])
        self.task = task
        self.task_id = int(figures["pid"]) if figures.get("pid") else None
        self.sequence = int(figures["sequence"]) if figures.get("sequence") else None
        self.frames = match["frames"].split()
        self.width = len(match["address"])
        self.wide = max(map(len, self.frames[:-1]), default=self.width)

    def join(self, text: str) -> bool:
        """Whether the line is the rest of this one, broken at the terminal's last column; then it is taken in."""
        match = _ONLY_FRAMES.match(text) if text.strip() else None
        if match is None:
            return False
        if not self.frames:  # broken within the address, or right behind it
            return self._complete(match["head"], match["frames"].split())
        lost = max(0, self.wide - len(self.frames[-1]))
        more = match["frames"].split()
        if len(match["head"]) != lost or any(len(frame) != self.wide for frame in more[:-1]):
            return False
        if more and len(more[-1]) < _FEWEST_CHARACTERS:
            return False
        if lost:
            self.frames[-1] += match["head"]
        self.frames += more
        return True

    def _complete(self, head: str, frames: list[str]) -> bool:
        """Whether the line is the rest of one that was broken before its first frame."""
        lost = _USUAL_CHARACTERS - self.width
        if lost < 0 or len(head) != lost:
            return False
        if head:
            self.address = int(f"{self.address:x}{head}", 16)
            self.width += lost
        self.frames = frames
        self.wide = max(map(len, frames[:-1]), default=self.width)
        return bool(head or frames)

    @property
    def is_cut(self) -> bool:
        """The last address has fewer digits than the others, which are padded with zeros: its end was lost."""
        others, last = self.frames[:-1], self.frames[-1] if self.frames else ""
        if not others or len(last) >= self.wide:
            return False
        padded = any(frame.startswith("0x0") for frame in others)
        return len(last) < min(map(len, others)) and (padded or len(last) < _FEWEST_CHARACTERS)


class Memdump:
    """One listing at a time; a node is given out when the line behind it shows that it is whole.

    Args:
        limits: For what is kept.
        tasks: Knows which owners have ended.
    """

    def __init__(self, limits: Limits, tasks: TaskTable) -> None:
        self._limits = limits
        self._tasks = tasks
        self._dumps = Dumps("nuttx", limits)
        self._asked: str | None = None
        self._forget()

    def _forget(self) -> None:
        self._title: Place | None = None
        self._which: str | None = None
        self._task: str | None = None
        self._row = _row_pattern(_NEWEST)
        self._node: _Node | None = None
        self._totals_from: int | None = None
        self._address_width = 0  # a shorter address at the end of a line may have lost digits
        self._last_line = 0
        self._owners: dict[int, tuple[int, int]] = {}

    @property
    def wants(self) -> int:
        """Lines to be fed whatever they hold."""
        return 64 if self._title is not None else 0

    def read(self, line: Line) -> list[AnyObservation] | None:
        """What this line of a listing completes; None when it is none of a listing."""
        text = line.text
        follows = self._node is not None and line.number - self._last_line <= _LISTING_LINES
        if follows and not text.strip(_ROW_CHARACTERS):
            return self._body(line)  # a million such lines are read, so no other pattern is tried on one
        return self._heads(line)

    def _heads(self, line: Line) -> list[AnyObservation] | None:
        text = line.text
        if "ump" in text and (match := _TITLE.search(text)) is not None:
            return self.close() + self._begin(line, match)
        if "Size" in text and (match := _HEADING.search(text)) is not None:
            return self._heading(line, tuple(match[1].split()), grouped=text[: match.start(1)].endswith("CNT "))
        if "memdump" in text and (match := _ASKED.search(text)) is not None:
            self._asked = match[1] or match[2]
        if "memdump" in text and (match := _COMMAND.search(text)) is not None:
            window = f"{match[2]} to {match[3]}" if match[3] else f"{match[2]} on"
            said = f"the listing is of sequence numbers {window} only"
            return [problem(place(line, "nuttx"), "filter_active", said)]
        if self._title is None:
            return None
        if line.number - self._last_line > _LISTING_LINES:
            return self.close()
        return self._body(line)

    def _begin(self, line: Line, match: re.Match[str]) -> list[AnyObservation]:
        which = match["which"] or match["all"] or match["orphan"] or match["leak"]
        self._title = place(line, "nuttx")
        self._which = which
        self._last_line = line.number
        said = _FILTERS.get(which)
        rest = (match["rest"] or "").strip()
        if which == "biggest":
            said = f"the listing is of the biggest blocks only ({rest})"
        if which == "task" and rest != "ALL":
            name = _TASK_NAME.search(rest)
            task = name[1] if name is not None else rest
            self._task = task[:NAME_CHARACTERS] or None
            said = f"the listing is of the task {self._task} only"
        asked, self._asked = self._asked, None
        if match["all"] == "used" and asked is not None:  # an older title names no task
            said = f"the listing is of the task with the number {asked} only"
        return [] if said is None else [problem(self._title, "filter_active", said)]

    def _heading(self, line: Line, columns: tuple[str, ...], *, grouped: bool) -> list[AnyObservation] | None:
        if "Size" not in columns or "Address" not in columns or len(set(columns)) < len(columns):
            return None
        if grouped:  # nxgdb puts equal blocks together and shows one address for all
            self._which = None
            return []
        found: list[AnyObservation] = []
        if self._title is None or self._dumps.where is not None:
            found = self.close()
            self._title = place(line, "nuttx")
            # Without its title only a PID column shows that the nodes are in use.
            self._which = "used" if "PID" in columns else None
            if self._which is None:
                text = "a listing of heap nodes lacks its title, so whether they are in use is unknown; it is left out"
                found.append(problem(self._title, "torn_record", text))
        self._row = _row_pattern(columns)
        self._last_line = line.number
        return found

    def _body(self, line: Line) -> list[AnyObservation] | None:
        text = line.text
        if "Total" in text and _TOTALS_HEADING.search(text):
            self._totals_from = line.number
            return self._close_node()
        if self._totals_from is not None:
            match = _TOTALS.search(text)
            return None if match is None else self.close(int(match[1]), int(match[2]))
        return None if self._which in ("free", None) else self._listed(line)

    def _listed(self, line: Line) -> list[AnyObservation] | None:
        match = self._row.match(line.text)
        if match is not None and (match["frames"] or len(match["address"]) >= self._address_width):
            self._address_width = max(self._address_width, len(match["address"]))
            found = self._close_node()
            if self._dumps.where is None and self._title is not None:
                self._dumps.open(self._title)
            self._node = _Node(line, match, self._task)
            self._last_line = line.number
            return found
        if self._node is not None and line.number == self._node.line + 1 and self._node.join(line.text):
            self._node.line = line.number
            return []
        if _ONLY_NUMBERS.match(line.text):
            return [problem(place(line, "nuttx"), "torn_record", "a line of the listing is torn and left out")]
        return None

    def _close_node(self) -> list[AnyObservation]:
        node, self._node = self._node, None
        if node is None:
            return []
        found: list[AnyObservation] = []
        frames = node.frames
        if node.is_cut:
            frames = frames[:-1]
            found.append(problem(node.where, "torn_record", "a backtrace is cut; it is kept up to there"))
        if len(frames) > self._limits.frames_per_block:
            text = f"a backtrace has more than {self._limits.frames_per_block} frames; the rest is cut"
            found.append(problem(node.where, "too_many", text))
        if node.task_id is not None and (node.task_id in self._owners or len(self._owners) < self._limits.tasks):
            blocks, size_bytes = self._owners.get(node.task_id, (0, 0))
            self._owners[node.task_id] = (blocks + 1, size_bytes + node.size_bytes)
        return found + self._dumps.add(
            node.where,
            address=node.address,
            size_bytes=node.size_bytes,
            size_kind="block",
            task=node.task or self._tasks.names.get(-1 if node.task_id is None else node.task_id),
            task_id=node.task_id,
            sequence=node.sequence,
            frames=return_frames(" ".join(frames), self._limits),
        )

    def _last_node(self) -> list[AnyObservation]:
        """The last line of a listing that was cut: its last number may lack digits."""
        node = self._node
        if node is None:
            return []
        if not node.frames and node.width < max(self._address_width, _USUAL_CHARACTERS):
            self._node = None
            return [problem(node.where, "torn_record", "the last line of the listing is cut and left out")]
        if node.frames and len(node.frames[-1]) < max(node.wide, _USUAL_CHARACTERS):
            node.frames.pop()
        return self._close_node()

    def close(self, blocks: int | None = None, size_bytes: int | None = None) -> list[AnyObservation]:
        """The listing is over, with its totals where they were printed."""
        found = self._last_node() if blocks is None else self._close_node()
        title, which = self._title, self._which
        listed = which not in ("free", None)
        if title is not None and listed and (self._dumps.where is not None or blocks is not None):
            if self._dumps.where is None:
                self._dumps.open(title)
            have = (self._dumps.blocks, self._dumps.size_bytes)
            complete = (blocks, size_bytes) == have
            if blocks is None:
                found.append(problem(title, "missing_records", "the listing ends without its totals"))
            elif not complete:
                text = (
                    f"the listing declares {blocks:,} blocks of {size_bytes:,} B and shows {have[0]:,} of {have[1]:,} B"
                )
                found.append(problem(title, "missing_records", text))
            found += self._orphans(title)
            found += self._dumps.close(complete=complete, declared_blocks=blocks, declared_bytes=size_bytes)
        self._forget()
        return found

    def _orphans(self, where: Place) -> list[AnyObservation]:
        """Blocks whose owner has ended: none but another task could still free them."""
        ended = [number for number in self._owners if self._which == "leak" or self._tasks.has_ended(number)]
        if not ended:
            return []
        blocks, size_bytes = (sum(self._owners[number][at] for number in ended) for at in (0, 1))
        names = [f"{self._tasks.names.get(number, 'PID')} {number}" for number in ended[:_OWNERS_SHOWN]]
        if len(ended) > _OWNERS_SHOWN:
            names.append(f"and {len(ended) - _OWNERS_SHOWN} more")
        whose = "a task that has" if len(ended) == 1 else "tasks that have"
        text = f"{plural(blocks, 'block')} of {size_bytes:,} B {'is' if blocks == 1 else 'are'} of {whose} ended"
        return [problem(where, "dead_owner", f"{text}: {', '.join(names)}")]


def _row_pattern(columns: tuple[str, ...]) -> re.Pattern[str]:
    cells = r"\s+".join(_COLUMNS[column] for column in columns if _COLUMNS[column])
    return re.compile(rf"^\s*(?:\S.*[\]:>]\s*)??{cells}(?P<frames>(?:\s+0x[0-9a-fA-F]{{1,16}}(?!\S))*(?:\s+0x?)?)\s*$")
