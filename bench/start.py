"""How soon heaptrail answers: `--help`, and `read` of the demo's capture with its ELF, as whole processes.

Beside them, in the same run, a Python that does nothing: what a user pays for the language alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from table import Row, write_table

ROOT = Path(__file__).resolve().parents[1]
RUNS = 7
PROGRAM = [sys.executable, "-c", "from heaptrail.cli import main; main()"]


def least(command: list[str]) -> tuple[float, float]:
    """The least wall seconds and the peak resident MB of several whole processes, after one to warm up."""
    seconds, peak_mb = [], 0.0
    for _ in range(RUNS + 1):
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, _, usage = os.wait4(process.pid, 0)
        seconds.append(time.perf_counter() - started)
        peak_mb = usage.ru_maxrss / 1024
    return min(seconds[1:]), peak_mb


def main() -> None:
    capture, elf = ROOT / "out" / "demo" / "capture.cast", ROOT / "out" / "rtplayer" / "rtplayer"
    if not capture.exists():
        subprocess.run(["make", "-s", "demo"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    nothing_s, _ = least([sys.executable, "-c", "pass"])
    help_s, _ = least([*PROGRAM, "--help"])
    read_s, read_mb = least([*PROGRAM, "read", str(capture), "--elf", str(elf)])
    against = "python -c pass"
    write_table(
        "start",
        [
            Row("--help", "time", round(help_s, 3), "s", 0.3),
            Row("--help", "time against a bare Python", round(help_s / nothing_s, 1), "ratio", None, against),
            Row("read of the demo's capture", "time", round(read_s, 3), "s", 1.5),
            Row(
                "read of the demo's capture",
                "time against a bare Python",
                round(read_s / nothing_s, 1),
                "ratio",
                None,
                against,
            ),
            Row("read of the demo's capture", "peak resident memory", round(read_mb), "MB"),
        ],
    )


if __name__ == "__main__":
    main()
