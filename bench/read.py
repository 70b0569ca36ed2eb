"""How fast `heaptrail read` takes a long soak log, beside what a user would otherwise run on the same file.

A synthetic night: 1 % heap lines among ordinary log lines with time stamps. Beside it, in the same run, `grep -cE` with
the same key words and a pure-Python line loop as people write it. Ratios are what counts; this machine's seconds are
only there to be divided.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from table import Row, write_table

HEAP_EVERY_LINES = 100
WORDS = (
    "wifi: beacon received rssi -57 channel 11",
    "audio: decoder frame 2231 ok, 1152 samples at 44100",
    "net: tcp segment acknowledged, window 5840",
    "sensor: temperature 23.4 humidity 51.2 battery 3.71",
    "app: state machine idle -> fetch -> idle",
)
KEY_WORDS = "Total Heap Size|Min Free|Free :|backtrace|ptr = |memleak|thread = "


def write_log(path: Path, size_bytes: int) -> None:
    with path.open("w") as log:
        written, line, free = 0, 0, 900_000
        while written < size_bytes:
            block = []
            for _ in range(10_000):
                line += 1
                stamp = f"[{line // 36000:02d}:{line // 600 % 60:02d}:{line // 10 % 60:02d}.{line % 10}00] "
                if line % HEAP_EVERY_LINES == 0:
                    free -= 4
                    block.append(f"{stamp}==> Round [1] <==\n{stamp}Total Heap Size :  1907128 Bytes    ( 1862 KB)\n")
                    block.append(f"{stamp}           Free :   {free} Bytes    (  {free >> 10} KB)\n")
                    block.append(f"{stamp}       Min Free :   {free - 900} Bytes    (  {(free - 900) >> 10} KB)\n")
                elif line % 1000 == 1:
                    block.append(f"{stamp}round {line // 1000} done\n")
                else:
                    block.append(f"{stamp}{WORDS[line % len(WORDS)]} #{line}\n")
            text = "".join(block)
            log.write(text)
            written += len(text)


def seconds(command: list[str]) -> tuple[float, float]:
    """Wall seconds and peak resident MB of a whole process."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, _, usage = os.wait4(process.pid, 0)
    return time.perf_counter() - started, usage.ru_maxrss / 1024


def line_loop(path: Path) -> float:
    """What people write: decode every line, try a regular expression on it."""
    pattern = re.compile(r"(?:Min )?Free :\s*(\d+) Bytes")
    started = time.perf_counter()
    with path.open(errors="replace") as log:
        sum(1 for line in log if pattern.search(line))
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=1024)
    size_mb = parser.parse_args().megabytes
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "night.log"
        write_log(path, size_mb << 20)
        path.read_bytes()  # every reader finds the file in memory
        program = [sys.executable, "-c", "from heaptrail.cli import main; main()"]
        read_s, read_mb = seconds([*program, "read", str(path), "--cycle-mark", r"round \d+ done"])
        grep_s, _ = seconds(["grep", "-cE", f"{KEY_WORDS}|round [0-9]+ done", str(path)])
        loop_s = line_loop(path)
    case = f"soak log of {size_mb} MB, 1 % heap lines"
    write_table(
        "read",
        [
            Row(case, "throughput", round(size_mb / read_s, 1), "MB/s", 200),
            Row(case, "peak resident memory", round(read_mb), "MB", 200),
            Row(case, "time against grep -cE", round(read_s / grep_s, 2), "ratio", 7, "grep -cE, same key words"),
            Row(case, "time against a Python line loop", round(read_s / loop_s, 2), "ratio", None, "re.search a line"),
        ],
    )
    print(f"(this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB)", file=sys.stderr)


if __name__ == "__main__":
    main()
