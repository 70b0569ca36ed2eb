"""A board that speaks as one of several systems, for the tests of their commands: each `connect` loses 64 bytes.

Its heap holds old blocks before the workload, and one block of the first `connect` that is never asked for again. The
words and columns are the systems' own; the faults are those of real consoles. Run by the tests as `exec:` target.
"""

from __future__ import annotations

import argparse
import os
import sys
import termios
import threading
import tty
from typing import ClassVar

HEAP_BYTES = 524_288
OLD_BLOCKS = 20
LOST_BYTES, FIRST_BYTES = 64, 512


class Block:
    def __init__(self, sequence: int, size_bytes: int, frames: tuple[int, int]) -> None:
        self.sequence, self.size_bytes, self.frames = sequence, size_bytes, frames
        self.address = 0x2001_0000 + 0x400 * sequence


class Board:
    """The heap, and a console without commands."""

    PROMPT: ClassVar[str] = "> "
    REFUSAL: ClassVar[str] = "{0}: command not found\n"

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.lock = threading.RLock()
        self.rounds = self.sequence = 0
        self.armed_from: int | None = None
        self.blocks: list[Block] = []
        for _ in range(OLD_BLOCKS):
            self.allocate(128, (0x0801_1000, 0x0801_2000))

    def allocate(self, size_bytes: int, frames: tuple[int, int]) -> None:
        self.sequence += 1
        self.blocks.append(Block(self.sequence, size_bytes, frames))

    @property
    def used(self) -> int:
        return sum(block.size_bytes for block in self.blocks)

    @property
    def free(self) -> int:
        return HEAP_BYTES - self.used

    def show(self, text: str) -> None:
        data = text.replace("\n", "\r\n").encode()
        with self.lock:
            for position in range(len(data)) if self.options.slow else ():
                os.write(1, data[position : position + 1])
                threading.Event().wait(self.options.slow)
            if not self.options.slow:
                os.write(1, data)

    def listing(self, lines: list[str]) -> None:
        """A long answer; the console may lose its second half."""
        self.show("".join(lines[: len(lines) // 2] if self.options.cut_dump else lines))

    def chatter(self) -> None:
        pause, number = threading.Event(), 0
        while not pause.wait(0.01):
            number += 1
            self.show(f"\n[gnss] fix {number}\n")

    # --- commands

    def run(self, line: str) -> None:
        words = line.split()
        if not words:
            return
        command = getattr(self, "do_" + "_".join(words).replace("-", ""), None) or getattr(self, f"do_{words[0]}", None)
        if command is None or (self.options.bare and words[0] in self.TRACER):
            self.show(self.REFUSAL.format(words[0]))
            return
        command(words[1:])

    TRACER: ClassVar[tuple[str, ...]] = ()

    def do_connect(self, _: list[str]) -> None:
        if not self.rounds:
            self.allocate(FIRST_BYTES, (0x0802_0000, 0x0802_1000))
        self.rounds += 1
        self.allocate(LOST_BYTES, (0x0803_0000, 0x0803_1000))
        self.show("connected\n")

    def serve(self) -> None:
        line = ""
        self.show(self.PROMPT)
        while data := os.read(0, 1):
            character = data.decode("latin-1")
            if character in "\r\n":
                if self.options.echo:
                    self.show("\n")
                self.run(line)
                line = ""
                self.show(self.PROMPT)
                continue
            line += character
            if self.options.echo:
                self.show(character)


class Nuttx(Board):
    PROMPT = "nsh> "
    REFUSAL = "nsh: {0}: command not found\n"
    TRACER = ("memdump",)

    def do_free(self, _: list[str]) -> None:
        heading = "      total       used       free    maxused    maxfree  nused  nfree name\n"
        figures = (
            f"{HEAP_BYTES:11d}{self.used:11d}{self.free:11d}{self.used:11d}{self.free:11d}{len(self.blocks):7d}{2:7d}"
        )
        self.show(f"{heading}{figures} Umem\n")

    def do_ps(self, _: list[str]) -> None:
        heading = "  PID GROUP PRI POLICY   TYPE    NPX STATE   EVENT SIGMASK      HEAP  STACK   USED  FILLED COMMAND\n"
        row = "    4     4 100 RR       Task    --- Running            00000000 0001504 003024 001392  46.0%  app\n"
        self.show(heading + row)

    def do_memdump(self, words: list[str]) -> None:
        if not words:
            self.show("usage: <on/off/leak/pid/used/free> <seqmin> <seqmax>\n")
            self.show(f"The current sequence number {self.sequence + 1}\n" * (not self.options.no_sequence))
            return
        first = int(words[1]) if len(words) > 1 else 0
        listed = [block for block in self.blocks if block.sequence >= first]
        lines = ["Dump all used memory node info:\n", "   PID        Size    Sequence    Address Backtrace\n"]
        for block in listed:
            frames = " ".join(f"0x{pc:08x}" for pc in block.frames)
            lines.append(f"{4:6d}{block.size_bytes:12d}{block.sequence:12d} 0x{block.address:08x} {frames}\n")
        size = sum(block.size_bytes for block in listed)
        self.listing([*lines, "  Total Blks  Total Size\n", f"{len(listed):12d}{size:12d}\n"])


class RtThread(Board):
    PROMPT = "msh />"
    REFUSAL = "{0}: command not found.\n"
    TRACER = ("memtrace",)

    def do_free(self, _: list[str]) -> None:
        self.show(f"total    : {HEAP_BYTES}\nused     : {self.used}\nmaximum  : {self.used}\navailable: {self.free}\n")

    def do_ps(self, _: list[str]) -> None:
        self.show(
            "thread   pri  status      sp     stack size max used left tick   error  tcb addr\n"
            "-------- ---  ------- ---------- ----------  ------  ---------- ------- ----------\n"
            "app       20  running 0x00000168 0x00001000    16%   0x00000009 OK      0x600a37a0\n"
        )

    def do_memtrace(self, _: list[str]) -> None:
        head = [
            "\nmemory heap address:\n",
            "name    : heap\n",
            f"total   : 0x{HEAP_BYTES}\n",
            f"used    : 0x{self.used}\n",
            f"max_used: 0x{self.used}\n",
            "heap_ptr: 0x20010000\n",
            "lfree   : 0x20018000\n",
            "heap_end: 0x20090000\n",
            "\n--memory item information --\n",
        ]
        self.listing([*head, *(f"[0x{block.address:08x} - {block.size_bytes:5d}] app\n" for block in self.blocks)])


class Zephyr(Board):
    PROMPT = "uart:~$ "
    TRACER = ("heaptrace",)

    def do_kernel_heap(self, _: list[str]) -> None:
        self.show(f"free:           {self.free}\nallocated:      {self.used}\nmax. allocated: {self.used}\n")

    def do_heaptrace(self, words: list[str]) -> None:
        if words == ["reset"]:
            self.armed_from = self.sequence + 1
            return
        first = self.armed_from or 0
        listed = [block for block in self.blocks if block.sequence >= first]
        lines = ["======== heaptrace dump begin ========\n"]
        for block in listed:
            lines.append(
                f"[heaptrace] ptr=0x{block.address:08x} size={block.size_bytes} heap=sys_heap alloc_tid=0x20000a00 "
                f"alloc_thread=app alloc_cpu=0 alloc_ms={block.sequence}\n"
            )
            lines.append("[heaptrace]   backtrace: " + " ".join(f"0x{pc:08x}" for pc in block.frames) + "\n")
        size = sum(block.size_bytes for block in listed)
        lines.append(f"[heaptrace] outstanding_blocks={len(listed)} outstanding_bytes={size}\n")
        self.listing([*lines, "======== heaptrace dump end ========\n"])


class EspIdf(Board):
    PROMPT = "esp32> "
    REFUSAL = "Unrecognized command\n"
    TRACER = ("trace",)

    def do_help(self, _: list[str]) -> None:
        self.show(
            "help  [<string>] [-v <0|1>]\n  Print the summary of all registered commands if no arguments are given\n"
        )

    def do_free(self, _: list[str]) -> None:
        self.show(f"{self.free}\n")

    def do_trace(self, words: list[str]) -> None:
        if words == ["start"]:
            self.armed_from = self.sequence + 1
            return
        listed = [block for block in self.blocks if block.sequence >= (self.armed_from or 0)]
        lines = [f"====== Heap Trace: {len(listed)} records (256 capacity) ======\n"]
        for block in listed:
            frames = ":".join(f"0x{pc + 0x3800_0000:08x}" for pc in block.frames)
            lines.append(
                f"  {block.size_bytes:6d} bytes (@ 0x{block.address + 0x1F00_0000:08x}, Internal) allocated CPU 0 "
                f"ccount 0x{block.sequence:08x} caller {frames}\n"
            )
        size = sum(block.size_bytes for block in listed)
        lines += [
            "====== Heap Trace Summary ======\n",
            "Mode: Heap Trace Leaks\n",
            f"{size} bytes 'leaked' in trace ({len(listed)} allocations)\n",
            f"records: {len(listed)} (256 capacity, {len(listed)} high water mark)\n",
            f"total allocations: {len(listed)}\n",
            "total frees: 0\n",
            "================================\n",
        ]
        self.listing(lines)


class Tina(Board):
    PROMPT = "c906>"
    REFUSAL = "{0}: no such command\n"
    TRACER = ("memleak",)

    def do_free(self, _: list[str]) -> None:
        rows = (("Total Heap Size", HEAP_BYTES), ("           Free", self.free), ("       Min Free", self.free))
        self.show("".join(f"{label} : {value:8d} Bytes    ({value >> 10:5d} KB)\n" for label, value in rows) + "\n")

    def do_help(self, _: list[str]) -> None:
        self.show("=========== commands ===========\n    free    heap\n    memleak    trace the heap\n")

    def do_memleak(self, words: list[str]) -> None:
        if words == ["1"]:
            self.armed_from = self.sequence + 1
            return
        first = self.sequence + 1 if self.armed_from is None else self.armed_from
        lines = []
        for number, block in enumerate(reversed([b for b in self.blocks if b.sequence >= first]), 1):
            lines.append(
                f"    {number:03d}: ptr = 0x{block.address:08x}, size = 0x{block.size_bytes:08x}, thread = app\n"
            )
            lines += [f"        backtrace : 0x{pc:08X}\n" for pc in block.frames]
        if words == ["0"]:
            self.armed_from = None
        self.listing(lines)


class Unmarked(Tina):
    """Tina behind a prompt that many systems have."""

    PROMPT = "# "


class Strange(Board):
    """A system that nobody knows."""

    PROMPT = "# "
    REFUSAL = "invalid command {0}\n"


BOARDS = {board.__name__.lower(): board for board in (Nuttx, RtThread, Zephyr, EspIdf, Tina, Unmarked, Strange)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("system", choices=BOARDS)
    parser.add_argument("--no-echo", dest="echo", action="store_false")
    parser.add_argument("--chatter", action="store_true", help="another task prints all the time")
    parser.add_argument("--slow", type=float, default=0.0, help="seconds for each character")
    parser.add_argument("--cut-dump", action="store_true", help="the second half of a listing never comes")
    parser.add_argument("--bare", action="store_true", help="built without its tracer")
    parser.add_argument("--no-sequence", action="store_true", help="numbers no allocations")
    options = parser.parse_args()
    attributes = termios.tcgetattr(0)
    tty.setraw(0)
    try:
        board = BOARDS[options.system](options)
        if options.chatter:
            threading.Thread(target=board.chatter, daemon=True).start()
        board.serve()
    finally:
        termios.tcsetattr(0, termios.TCSANOW, attributes)


if __name__ == "__main__":
    sys.exit(main())
