"""How long a post-mortem takes from the command line: a RAM image in, a report out.

Three images: one of a small target (2.3 MB, 550 blocks), one of 64 MB with 100,000 blocks, and 64 MB whose heap is one
list of 100,000 blocks, so that the search is as deep as it can be. Every time is a whole process's, imports included,
the least of several; memory is that process's peak, less that of the same command on an image of 20 KB.
`grep -c` over the same file, in the same run, shows what reading costs.
"""

from __future__ import annotations

import argparse
import os
import random
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from table import Row, write_table

REPEATS = 3
ROOTS = 4_096
LOST_SHARE = 0.2
SOURCE = """
#include <stddef.h>
struct link {{ void *next; size_t size; }} xStart; void *pxEnd; size_t xFreeBytesRemaining;
void *roots[{roots}];
_Alignas(16) unsigned char ucHeap[{heap}];
int main(void) {{ return roots[0] == ucHeap; }}
"""


class Shape(NamedTuple):
    """An image to make: its heap, how many blocks, whether they are one long list, and the goals."""

    name: str
    heap_bytes: int
    blocks: int
    chained: bool
    goal_s: float


TINY = Shape("20 KB", 20_000, 8, chained=False, goal_s=0.5)
SHAPES = (
    Shape("2.3 MB, 550 blocks", 2_300_000, 550, chained=False, goal_s=0.5),
    Shape("64 MB, 100,000 blocks", 64_000_000, 100_000, chained=False, goal_s=3.0),
    Shape("64 MB, one list of 100,000 blocks", 64_000_000, 100_000, chained=True, goal_s=3.0),
)


def made(folder: Path, shape: Shape) -> tuple[Path, str, int]:
    """The ELF, the image with its base, and how many blocks are lost in it.

    Made by a process of its own: Linux counts what the parent had in memory to a child's peak.
    """
    folder.mkdir()
    index = str((*SHAPES, TINY).index(shape))
    command = [sys.executable, __file__, "--make", str(folder), index]
    base, lost = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return folder / "heap.elf", f"{folder / 'ram.bin'}@{base}", int(lost)


def make(folder: Path, shape: Shape) -> None:
    """Write heap.elf and ram.bin; print the base and how many blocks are lost."""
    from heaptrail.limits import DEFAULT_LIMITS  # noqa: PLC0415 - see `made`
    from heaptrail.ram.firmware import Firmware  # noqa: PLC0415

    source, elf, image = folder / "heap.c", folder / "heap.elf", folder / "ram.bin"
    source.write_text(SOURCE.format(roots=ROOTS, heap=shape.heap_bytes))
    subprocess.run(["gcc", "-g", "-no-pie", "-mcmodel=large", "-o", elf, source], check=True)
    firmware = Firmware(elf, DEFAULT_LIMITS)
    first, end = firmware.writable[0][0], firmware.writable[-1][1]
    ram = bytearray(end - first)
    chooser = random.Random(1)

    def place(name: str) -> int:
        symbol = firmware.variable(name)
        assert symbol is not None
        return symbol.address - first

    def poke(offset: int, *values: int) -> None:
        struct.pack_into(f"<{len(values)}Q", ram, offset, *values)

    heap, size = place("ucHeap"), shape.heap_bytes // 16 * 16
    each = size // (shape.blocks + 1) // 16 * 16
    lost = 0
    addresses = [heap + each * index for index in range(shape.blocks)]
    held_before = addresses[0]
    for index, at in enumerate(addresses):
        poke(at, 0, each | 1 << 63)
        payload = first + at + 16
        for offset in range(32, each - 8, 64):  # data of a program: some numbers, some old text
            poke(at + offset, chooser.getrandbits(48))
        if index and not shape.chained and chooser.random() < LOST_SHARE:
            lost += 1
        elif index and (shape.chained or index > ROOTS // 2):
            poke(held_before + 16, payload)
            held_before = at
        else:
            poke(place("roots") + 8 * (index % ROOTS), payload)
            held_before = at
    rest = addresses[-1] + each
    marker = (heap + size - 16) // 16 * 16
    poke(rest, first + marker, marker - rest)
    poke(place("xStart"), first + rest, 0)
    poke(place("pxEnd"), first + marker)
    poke(place("xFreeBytesRemaining"), marker - rest)
    image.write_bytes(ram)
    print(f"{first:#x} {lost}")


def run(command: list[str | Path], stdout: Path) -> tuple[float, float]:
    """Wall seconds and peak resident MB of a whole process."""
    with stdout.open("w") as sink:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=sink, env=os.environ | {"COLUMNS": "100"})
        _, status, usage = os.wait4(process.pid, 0)
        elapsed = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1, 3):
        raise SystemExit(f"{command[0]} failed with {process.returncode}")
    return elapsed, usage.ru_maxrss / 1024


def measure(folder: Path, shape: Shape) -> list[Row]:
    elf, spec, lost = made(folder / "image", shape)
    small_elf, small, _ = made(folder / "tiny", TINY)
    out = folder / "report.txt"
    command: list[str | Path] = [sys.executable, "-m", "heaptrail", "ram", spec, "--elf", elf]
    results = [run(command, out) for _ in range(REPEATS)]
    run([*command, "--list", "unreachable"], out)
    found = len(out.read_text().splitlines()) - 1
    baseline, _ = run(["grep", "-c", "a", spec.partition("@")[0]], folder / "grep.txt")
    _, idle = run([sys.executable, "-m", "heaptrail", "ram", small, "--elf", small_elf], out)
    seconds, megabytes = min(s for s, _ in results), max(mb for _, mb in results)
    image_mb = Path(spec.partition("@")[0]).stat().st_size / 1e6
    return [
        Row(shape.name, "time", round(seconds, 3), "s", shape.goal_s),
        Row(shape.name, "time of grep -c", round(baseline, 3), "s"),
        Row(shape.name, "time against grep -c", round(seconds / baseline, 1), "ratio", None, "grep -c"),
        Row(shape.name, "peak resident memory", round(megabytes, 1), "MB"),
        Row(
            shape.name,
            "peak, less that of a tiny image",
            round((megabytes - idle) / image_mb, 2),
            "ratio",
            4,
            "the image's size",
        ),
        Row(shape.name, "lost blocks found", found, "blocks", lost),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--make", nargs=2, metavar=("FOLDER", "SHAPE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.make:
        make(Path(arguments.make[0]), (*SHAPES, TINY)[int(arguments.make[1])])
        return
    rows: list[Row] = []
    for shape in SHAPES:
        with tempfile.TemporaryDirectory() as folder:
            rows += measure(Path(folder), shape)
    write_table("ram", rows)


if __name__ == "__main__":
    main()
