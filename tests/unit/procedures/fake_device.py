"""A pretend board for the tests: the case's console on standard input and output, with faults to order.

It leaks two blocks of 0xf00 in every round, as the case's player does. Run by the tests as `exec:` target.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import termios
import threading
import tty

FREE_BYTES = 547_632
LOST_PER_ROUND_BYTES = 2 * 0xF10
PROMPT = "c906>"


class Device:
    """State of one boot and the console of all of them."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.lock = threading.RLock()
        self.reboots_left = options.reboots
        self.commands = self.lines = 0
        self.swallowed = False
        self.boot = 0
        self.begin()

    def begin(self) -> None:
        self.boot += 1
        self.playing = self.looping = self.tracing = False
        self.round = self.traced_from = 0
        self.show(f"*** board boot {self.boot} ***\n")

    def show(self, text: str) -> None:
        data = text.replace("\n", "\r\n").encode()
        with self.lock:
            if self.options.slow:
                for position in range(len(data)):
                    os.write(1, data[position : position + 1])
                    threading.Event().wait(self.options.slow)
            else:
                os.write(1, data)

    # --- tasks

    def play(self) -> None:
        pause = threading.Event()
        while not pause.wait(self.options.round_s):
            if not self.looping or self.options.stuck_at == self.round:
                continue
            self.round += 1
            if self.options.die_at == self.round:
                os.kill(os.getpid(), signal.SIGKILL)
            if self.options.out_of_memory_at == self.round:
                self.show("\nsoftvol_ap_update_mode: no memory\nrtplayer_test: playback stopped\n")
                self.looping = False
                continue
            if self.options.reboot_at == self.round and self.reboots_left:
                self.reboots_left -= 1
                self.begin()
                self.show(PROMPT)
                continue
            with self.lock:
                burst = 3 if self.options.bursts else 1
                self.round += burst - 1
                lines = [f"playback round {self.round - burst + 1 + i} complete\n" for i in range(burst)]
                self.show("\n" + "".join(lines))

    def chatter(self) -> None:
        pause = threading.Event()
        number = 0
        while not pause.wait(0.004):
            number += 1
            self.show(f"\n[wifi] beacon {number}\n")

    # --- console

    def run(self, line: str) -> None:
        self.commands += 1
        if self.options.hang_after and self.commands > self.options.hang_after:
            threading.Event().wait()
        words = line.split()
        if not words:
            return
        command = getattr(self, f"do_{words[0]}", None)
        if command is None:
            self.show(f"{words[0]}: not a command\n")
        else:
            command(words[1:])

    def do_free(self, _: list[str]) -> None:
        free = FREE_BYTES - (LOST_PER_ROUND_BYTES * self.round if self.playing else 0)
        if self.options.nuttx:
            self.show(
                "      total       used       free    maxused    maxfree  nused  nfree name\n"
                f"    1907128 {1907128 - free:10d} {free:10d}    1500000 {free // 2:10d}    914     17 Umem\n"
            )
            return
        self.show(
            f"==> Round [1] <==\nTotal Heap Size :  1907128 Bytes    ( 1862 KB)\n"
            f"           Free : {free:8d} Bytes    ({free >> 10:5d} KB)\n"
            f"       Min Free : {free:8d} Bytes    ({free >> 10:5d} KB)\n\n"
        )

    def do_memleak(self, words: list[str]) -> None:
        if words[:1] == ["stream"] and self.options.wire:
            self.show(
                f"heaptrail: stream {'on' if words == ['stream'] else 'off'} wire={self.options.wire} agent=9.9\n"
            )
            return
        if words == ["1"]:
            self.tracing, self.traced_from = True, self.round
            return
        blocks = 2 * (self.round - self.traced_from) if self.playing else 2
        for number in range(1, blocks * self.tracing + 1):
            self.show(
                f"    {number:03d}: ptr = 0x{0x8760000 + 0xF10 * number:08x}, size = 0x00000f00, thread = AudioRender\n"
                "        backtrace : 0x08336AEE\n        backtrace : 0x08396D52\n"
            )
        if words == ["0"]:
            self.tracing = False

    def do_memdump(self, words: list[str]) -> None:
        if not self.options.nuttx or words != ["used"]:
            return
        blocks = 1 + 2 * self.round if self.playing else 1
        self.show("Dump all used memory node info:\n    PID        Size Overhead    Sequence    Address Backtrace\n")
        for number in range(blocks):
            address = 0x3FC90000 + 0xF10 * number
            self.show(f"{12:7d} {0xF10:11d} {16:8d} {100 + number:11d} {address:#x} 0x4200a1c4 0x4201c3e0\n")
        self.show(f"  Total Blks  Total Size\n{blocks:12d} {0xF10 * blocks:11d}\n")

    def do_rtplayer_test(self, _: list[str]) -> None:
        self.playing = True
        self.show("rtplayer_test: playing\n")

    def do_l(self, _: list[str]) -> None:
        self.looping = self.playing

    def do_b(self, _: list[str]) -> None:
        self.show("in background\n")

    def do_rtpc(self, _: list[str]) -> None:
        self.playing = self.looping = False
        self.show("playback ended\n")

    def do_connect(self, _: list[str]) -> None:
        self.playing = True
        self.round += 1
        self.show("connected\n")

    def do_status(self, _: list[str]) -> None:
        self.show(f"tracer {'on' if self.tracing else 'off'}, {'playing' if self.playing else 'stopped'}\n")

    def loses(self, character: str, line: str) -> bool:
        """Whether this character never arrives, as the first one after a pause does on some boards."""
        every = self.options.swallow
        if not every or line or character in "\r\n" or self.swallowed:
            self.swallowed = False
            return False
        self.lines += 1
        self.swallowed = every < 0 or self.lines % every == 1
        return self.swallowed

    def serve(self) -> None:
        line = ""
        self.show(PROMPT)
        while data := os.read(0, 1):
            character = data.decode("latin-1")
            if self.loses(character, line):
                continue
            if character in "\r\n":
                if self.options.echo:
                    self.show("\n")
                self.run(line)
                line = ""
                self.show(PROMPT)
                continue
            line += character
            if self.options.echo:
                self.show(character)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--silent", action="store_true", help="never say a word")
    parser.add_argument("--noise", action="store_true", help="send what a wrong baud rate makes of text")
    parser.add_argument("--no-echo", dest="echo", action="store_false")
    parser.add_argument("--chatter", action="store_true", help="another task prints all the time")
    parser.add_argument("--nuttx", action="store_true", help="speak as NuttX, whose allocator always records")
    parser.add_argument("--wire", type=int, default=0, help="answer `memleak stream` with this version of the stream")
    parser.add_argument("--bursts", action="store_true", help="three rounds end at once")
    parser.add_argument("--slow", type=float, default=0.0, help="seconds for each character")
    parser.add_argument("--round-s", type=float, default=0.01)
    parser.add_argument(
        "--swallow", type=int, default=0, help="lose the first character of every n-th line; -1: of all"
    )
    parser.add_argument("--hang-after", type=int, default=0, help="commands until the console hangs")
    parser.add_argument("--reboots", type=int, default=0)
    parser.add_argument("--reboot-at", type=int, default=-1)
    parser.add_argument("--die-at", type=int, default=-1)
    parser.add_argument("--stuck-at", type=int, default=-1)
    parser.add_argument("--out-of-memory-at", type=int, default=-1)
    options = parser.parse_args()
    attributes = termios.tcgetattr(0)
    tty.setraw(0)
    try:
        if options.silent or options.noise:
            chance = random.Random(1)
            while data := os.read(0, 100):
                if options.noise:
                    os.write(1, bytes(chance.choice((0x00, 0xF8, 0xFE, 0x80, 0xC0, 0x1C)) for _ in data * 20))
            return
        device = Device(options)
        for task in [device.play, *([device.chatter] if options.chatter else [])]:
            threading.Thread(target=task, daemon=True).start()
        device.serve()
    finally:
        termios.tcsetattr(0, termios.TCSANOW, attributes)


if __name__ == "__main__":
    sys.exit(main())
