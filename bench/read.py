"""How fast `heaptrail read` takes long logs, beside what a user would otherwise run on the same file.

A synthetic night: 1 % heap lines among ordinary log lines with time stamps, once of one system and once of six. Beside
it, in the same run, `grep -cE` with the same key words and a pure-Python line loop as people write it. Ratios are what
counts; this machine's seconds are only there to be divided. Then a listing of a million live blocks with 1,000 stacks.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from table import Row, write_table

if TYPE_CHECKING:
    from collections.abc import Callable

    Reading = Callable[[int], tuple[str, ...]]

LINES_A_READING = 350
"""Of three lines or four, which makes one per cent of heap lines."""
WORDS = (
    "wifi: beacon received rssi -57 channel 11",
    "audio: decoder frame 2231 ok, 1152 samples at 44100",
    "net: tcp segment acknowledged, window 5840",
    "sensor: temperature 23.4 humidity 51.2 battery 3.71",
    "app: state machine idle -> fetch -> idle",
)
KEY_WORDS = "Total Heap Size|Min Free|Free :|maxfree|Umem|min_free|xPortGet|total    :|allocated|memleak|ptr = "


def _tina(free: int) -> tuple[str, ...]:
    low = free - 900
    return (
        "==> Round [1] <==",
        "Total Heap Size :  1907128 Bytes    ( 1862 KB)",
        f"           Free :   {free} Bytes    (  {free >> 10} KB)",
        f"       Min Free :   {low} Bytes    (  {low >> 10} KB)",
    )


def _nuttx(free: int) -> tuple[str, ...]:
    return (
        "      total       used       free    maxused    maxfree  nused  nfree name",
        f"    1907128 {1907128 - free:10d} {free:10d}    1200000 {free // 2:10d}    812     91 Umem",
    )


def _espidf(free: int) -> tuple[str, ...]:
    return (f"I ({free}) main: Free heap: {free} min: {free - 900} largest: {free // 2}",)


def _freertos(free: int) -> tuple[str, ...]:
    return (
        f"xPortGetFreeHeapSize: {free}",
        f"xPortGetMinimumEverFreeHeapSize: {free - 900}",
    )


def _rtthread(free: int) -> tuple[str, ...]:
    used = 1907128 - free
    return ("total    : 1907128", f"used     : {used}", f"maximum  : {used + 900}", f"available: {free}")


def _zephyr(free: int) -> tuple[str, ...]:
    return (f"free:           {free}", f"allocated:      {1907128 - free}", f"max. allocated: {1907128 - free + 900}")


SOAK: tuple[Reading, ...] = (_tina,)
MIXED: tuple[Reading, ...] = (_tina, _nuttx, _espidf, _freertos, _rtthread, _zephyr)


def write_log(path: Path, size_bytes: int, readings: tuple[Reading, ...]) -> None:
    with path.open("w") as log:
        written, line, free = 0, 0, 900_000
        while written < size_bytes:
            block = []
            for _ in range(10_000):
                line += 1
                stamp = f"[{line // 36000 % 24:02d}:{line // 600 % 60:02d}:{line // 10 % 60:02d}.{line % 10}00] "
                if line % LINES_A_READING == 0:
                    free -= 4
                    reading = readings[line // LINES_A_READING % len(readings)]
                    block += [f"{stamp}{text}\n" for text in reading(free)]
                elif line % 1000 == 1:
                    block.append(f"{stamp}round {line // 1000} done\n")
                else:
                    block.append(f"{stamp}{WORDS[line % len(WORDS)]} #{line}\n")
            text = "".join(block)
            log.write(text)
            written += len(text)


def seconds(command: list[str]) -> tuple[float, float]:
    """Wall seconds and peak resident MB of a whole process.

    Its output is read: grep stops at the first match where it sees that nobody will.
    """
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        while process.stdout.read(1 << 16):
            pass
        _, _, usage = os.wait4(process.pid, 0)
        process.returncode = 0
    return time.perf_counter() - started, usage.ru_maxrss / 1024


def warm(path: Path) -> None:
    """Every reader finds the file in memory; in pieces, since a child's peak begins with its parent's."""
    with path.open("rb") as log:
        while log.read(1 << 20):
            pass


def line_loop(path: Path) -> float:
    """What people write: decode every line, try a regular expression on it."""
    pattern = re.compile(r"(?:Min )?Free :\s*(\d+) Bytes")
    started = time.perf_counter()
    with path.open(errors="replace") as log:
        sum(1 for line in log if pattern.search(line))
    return time.perf_counter() - started


def write_listing(path: Path, records: int, *, stamped: bool = False) -> None:
    chance = random.Random(1)
    stacks = [[0x0800_0000 + 2 * chance.randrange(1 << 22) for _ in range(chance.randrange(4, 9))] for _ in range(1000)]
    with path.open("w") as log:
        log.write("c906>memleak 1\nc906>memleak 0\n")
        for number in range(1, records + 1):
            second = number // 100  # some 100 records a second go over a fast console
            stamp = (
                f"[{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}.{number % 100:02d}0] "
                if stamped
                else ""
            )
            frames = "".join(f"{stamp}    backtrace : 0x{pc:08x}\r\n" for pc in chance.choice(stacks))
            address, size = 0x0870_0000 + 64 * number, chance.choice((32, 64, 0xF00))
            told = f"ptr = 0x{address:08x}, size = 0x{size:08x}, thread = worker{number % 7}"
            log.write(f"{stamp}{number:03d}: {told}\r\n{frames}")
        log.write("c906>\n")


PROGRAM = [sys.executable, "-c", "from heaptrail.cli import main; main()", "read"]
CYCLE_MARK = ["--cycle-mark", r"round \d+ done"]


def soak(path: Path, size_mb: int, name: str, readings: tuple[Reading, ...]) -> list[Row]:
    write_log(path, size_mb << 20, readings)
    warm(path)
    read_s, read_mb = seconds([*PROGRAM, str(path), *CYCLE_MARK])
    grep_s, _ = seconds(["grep", "-cE", f"{KEY_WORDS}|round [0-9]+ done", str(path)])
    loop_s = line_loop(path)
    case = f"soak log of {size_mb} MB, 1 % heap lines of {name}"
    return [
        Row(case, "throughput", round(size_mb / read_s, 1), "MB/s", 200),
        Row(case, "peak resident memory", round(read_mb), "MB", 200),
        Row(case, "time against grep -cE", round(read_s / grep_s, 2), "ratio", 7, "grep -cE, same key words"),
        Row(case, "time against a Python line loop", round(read_s / loop_s, 2), "ratio", None, "re.search a line"),
    ]


def packed(path: Path, size_mb: int) -> list[Row]:
    """The log as it lies there, compressed."""
    write_log(path, size_mb << 20, MIXED)
    rows = []
    for tool, suffix in (("gzip", "gz"), ("zstd", "zst")):
        if shutil.which(tool) is None:
            print(f"(no {tool} here: apt-get install {tool})", file=sys.stderr)
            continue
        subprocess.run([tool, "-qkf", str(path)], check=True)
        read_s, read_mb = seconds([*PROGRAM, f"{path}.{suffix}", *CYCLE_MARK])
        unpack_s, _ = seconds([tool, "-dkc", f"{path}.{suffix}"])
        case = f"the same in .{suffix}, {size_mb} MB"
        rows += [
            Row(case, "peak resident memory", round(read_mb), "MB", 200),
            Row(case, f"time against {tool} -dc", round(read_s / unpack_s, 2), "ratio", None, f"{tool} -dc"),
        ]
    return rows


def listing(path: Path, records: int, *, stamped: bool) -> list[Row]:
    write_listing(path, records, stamped=stamped)
    read_s, read_mb = seconds([*PROGRAM, str(path)])
    case = f"one listing of {records:,} live blocks{', each line with a time stamp' if stamped else ''}"
    return [
        Row(case, "time to the report", round(read_s, 1), "s", 20),
        Row(case, "peak resident memory", round(read_mb), "MB", 1024),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--records", type=int, default=1_000_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "night.log"
        rows = soak(path, given.megabytes, "one system", SOAK)
        rows += soak(path, given.megabytes, "six systems", MIXED)
        rows += packed(path, max(1, given.megabytes // 4))
        rows += listing(path, given.records, stamped=False)
        rows += listing(path, given.records, stamped=True)
    write_table("read", rows)
    print(f"(this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB)", file=sys.stderr)


if __name__ == "__main__":
    main()
