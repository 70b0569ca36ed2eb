"""How long a dump's backtraces take to get names: 1,000 blocks of 16 frames, in one process start.

Beside it, in the same run: one addr2line that is given all frames, and one addr2line process for each frame, which is
what console monitors and vendors' scripts do. The last is measured on a sample of starts and scaled; the table says
so. Every time is a whole process's, imports included, and the least of several.

The programs are made here: some hundred functions in many files, each call inside a chain of inlined ones. One is
small; the other has as much debug information as a firmware with a network stack, most of it types.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from table import Row, write_table

FILES = 40
FUNCTIONS_PER_FILE = 20
BLOCKS = 1_000
FRAMES_PER_BLOCK = 16
DISTINCT = 1_000
PROGRAMS = ((0, 300), (2_500, 100))  # types in each file, and starts of addr2line to measure
REPEATS = 5

HEAD = """
#include <stddef.h>
#include <stdlib.h>
struct stage_{n} {{ int rate; size_t count; struct stage_{n} *next; short samples[16]; char name[24]; }};
void *volatile sink_{n};
static inline __attribute__((always_inline)) void *grab_{n}(size_t size)
{{
    void *block = malloc(size);
    sink_{n} = block;
    return block;
}}
static inline __attribute__((always_inline)) struct stage_{n} *make_{n}(int rate)
{{
    struct stage_{n} *stage = grab_{n}(sizeof(struct stage_{n}) + (size_t)rate);
    if (stage != NULL)
        stage->rate = rate;
    return stage;
}}
static inline __attribute__((always_inline)) int prime_{n}(int rate)
{{
    struct stage_{n} *first = make_{n}(rate);
    struct stage_{n} *second = make_{n}(rate + 1);
    return first != NULL && second != NULL;
}}
"""
TYPES = """
struct reg_{n}_{k} {{ int control; unsigned status; struct reg_{n}_{k} *next; unsigned char data[{k} + 1];
                      void (*handler)(struct reg_{n}_{k} *, int); }};
enum state_{n}_{k} {{ IDLE_{n}_{k}, BUSY_{n}_{k}, DONE_{n}_{k} }};
"""
FUNCTION = """
__attribute__((noinline)) int work_{n}_{i}(int depth)
{{
    int sum = prime_{n}(depth + {i});
    if (depth > 0)
        sum += {callee}(depth - 1);
    sum += prime_{n}(depth * {i});
    return sum;
}}
"""


def build(folder: Path, types: int) -> Path:
    """The generated program, with -O2 -g and `types` types in each file."""
    folder.mkdir()
    names = [(n, i) for n in range(FILES) for i in range(FUNCTIONS_PER_FILE)]
    followers = dict(zip(names, [*names[1:], names[0]], strict=True))
    for n in range(FILES):
        text = HEAD.format(n=n) + "".join(TYPES.format(n=n, k=k) for k in range(types))
        for i in range(FUNCTIONS_PER_FILE):
            callee = "work_{}_{}".format(*followers[n, i])
            text += f"int {callee}(int depth);" + FUNCTION.format(n=n, i=i, callee=callee)
        (folder / f"part{n}.c").write_text(text)
    (folder / "main.c").write_text("int work_0_0(int depth);\nint main(void) { return work_0_0(5); }\n")
    elf = folder / "program"
    flags = ["-O2", "-g", "-no-pie", "-fno-eliminate-unused-debug-types"]
    subprocess.run(["gcc", *flags, *sorted(folder.glob("*.c")), "-o", elf], check=True)
    return elf


def call_sites(elf: Path) -> list[int]:
    """The return address of every direct call in the program, as objdump lists them."""
    listing = subprocess.run(["objdump", "-d", elf], check=True, capture_output=True, text=True).stdout.splitlines()
    found = []
    for line, following in pairwise(listing):
        address, colon, _ = following.partition(":")
        if "\tcall " in line and colon and following.startswith(" "):
            found.append(int(address, 16))
    return found


def run(command: list[str | Path], stdin: Path | None = None, stdout: Path | None = None) -> tuple[float, float]:
    """Wall seconds and peak resident MB of a whole process."""
    with open(stdin or os.devnull) as source, open(stdout or os.devnull, "w") as sink:  # noqa: PTH123 - devnull
        started = time.perf_counter()
        process = subprocess.Popen(command, stdin=source, stdout=sink)
        _, status, usage = os.wait4(process.pid, 0)
        elapsed = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command[0]} failed with {process.returncode}")
    return elapsed, usage.ru_maxrss / 1024


def worker(elf: str, frames: str, cache: str) -> None:
    """What is timed: open the ELF and resolve every frame of a file, printing function and line of each."""
    from heaptrail.model.observations import RawFrame  # noqa: PLC0415 - only the timed process pays for it
    from heaptrail.symbols.lines import open_symbolizer  # noqa: PLC0415 - as above

    symbolizer = open_symbolizer(elf, cache_dir=cache)
    out = []
    for text in Path(frames).read_text().split():
        resolved = symbolizer.resolve(RawFrame(int(text, 16), "return"))
        out.append(" < ".join(f"{frame.function} {frame.line or '?'}" for frame in resolved))
    sys.stdout.write("\n".join(out) + "\n")


def best(command: list[str | Path], *, stdin: Path | None = None, fresh: Path | None = None) -> tuple[float, float]:
    """The least seconds of some runs and the most MB; `fresh` is a folder that is removed before each."""
    results = []
    for _ in range(REPEATS):
        if fresh is not None:
            shutil.rmtree(fresh, ignore_errors=True)
        results.append(run(command, stdin))
    return min(seconds for seconds, _ in results), max(megabytes for _, megabytes in results)


def agreement(elf: Path, ours: Path, pcs: list[int]) -> float:
    """The share of frames whose whole chain of functions and lines is addr2line's, in percent."""
    asked = "\n".join(hex(pc - 1) for pc in pcs)
    printed = subprocess.run(["addr2line", "-fiaC", "-e", elf], input=asked, check=True, capture_output=True, text=True)
    chains: list[list[str]] = []
    rows = iter(printed.stdout.splitlines())
    for row in rows:
        if row.startswith("0x"):
            chains.append([])
        else:
            line = next(rows).split(" (")[0].rpartition(":")[2]
            chains[-1].append(f"{row} {line}")
    own = ours.read_text().splitlines()
    return 100 * sum(" < ".join(a) == b for a, b in zip(chains, own, strict=True)) / len(own)


def measure(folder: Path, types: int, starts: int) -> list[Row]:
    elf = build(folder, types)
    chooser = random.Random(1)
    distinct = chooser.sample(call_sites(elf), DISTINCT)
    frames = [chooser.choice(distinct) for _ in range(BLOCKS * FRAMES_PER_BLOCK)]
    log, once, asked = folder / "frames.txt", folder / "distinct.txt", folder / "asked.txt"
    log.write_text("\n".join(map(hex, frames)) + "\n")
    once.write_text("\n".join(map(hex, distinct)) + "\n")
    asked.write_text("\n".join(hex(pc - 1) for pc in frames) + "\n")
    cache, answers = folder / "cache", folder / "answers.txt"

    own: list[str | Path] = [sys.executable, __file__, "--worker", elf, log, cache]
    cold_s, cold_mb = best(own, fresh=cache)
    warm_s, warm_mb = best(own)
    warm_once_s, _ = best([*own[:4], once, cache])
    batch_s, batch_mb = best(["addr2line", "-fiC", "-e", elf], stdin=asked)
    started = time.perf_counter()
    for pc in frames[:starts]:
        subprocess.run(["addr2line", "-fiC", "-e", elf, hex(pc - 1)], check=True, stdout=subprocess.DEVNULL)
    each_s = (time.perf_counter() - started) / starts * len(frames)
    run(own, stdout=answers)
    same = agreement(elf, answers, frames)

    size = f"{elf.stat().st_size / 1e6:.0f} MB ELF"
    case = f"{size}, {BLOCKS:,} blocks x {FRAMES_PER_BLOCK}"
    cold, warm, each = f"{case}, cold", f"{case}, warm", f"addr2line for each frame ({starts} starts, scaled)"
    batch = "one addr2line -fiC for all"
    return [
        Row(cold, "time", round(cold_s, 3), "s"),
        Row(cold, "time against one addr2line", round(cold_s / batch_s, 3), "ratio", None, batch),
        Row(cold, "speed-up over one start a frame", round(each_s / cold_s), "times", None, each),
        Row(cold, "peak resident memory", round(cold_mb, 1), "MB"),
        Row(warm, "time", round(warm_s, 3), "s"),
        Row(warm, "time against one addr2line", round(warm_s / batch_s, 3), "ratio", None, batch),
        Row(warm, "speed-up over one start a frame", round(each_s / warm_s), "times", None, each),
        Row(warm, "peak resident memory", round(warm_mb, 1), "MB"),
        Row(f"{size}, {DISTINCT:,} distinct frames, warm", "time with imports", round(warm_once_s, 3), "s", 0.15),
        Row(case, f"time of {batch}", round(batch_s, 3), "s"),
        Row(case, f"peak resident memory of {batch}", round(batch_mb, 1), "MB"),
        Row(case, f"time of {each}", round(each_s, 1), "s"),
        Row(case, "chains equal to addr2line's", round(same, 2), "%", 99),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worker", nargs=3, metavar=("ELF", "FRAMES", "CACHE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        worker(*arguments.worker)
        return
    with tempfile.TemporaryDirectory() as folder:
        rows = [row for types, starts in PROGRAMS for row in measure(Path(folder) / f"types{types}", types, starts)]
    write_table("symbols", rows)


if __name__ == "__main__":
    main()
