"""What the agent costs on a board: instructions a malloc and a free, bytes of RAM a record, code and data.

The firmware of tests/firmware is built with the agent, without any tracer, with a linked list of 16-address records in
the same heap (the design in use), and with a node taken from the heap for each block, and run in QEMU, which counts
instructions exactly. Instructions are not cycles. Figures are those of -O2, GCC of Debian; the stack is 8 frames, known
already, and 64 other blocks are live. The list is shown at its best: the block that is freed is the newest, which it
finds at once; any other costs a walk. Code and data are what a linked firmware grows by with -Os, unused functions left
out by the linker.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from table import Row, write_table

ROOT = Path(__file__).resolve().parents[1]
FIRMWARE = ROOT / "tests" / "firmware"
AGENT = ROOT / "agent"
HERE = ROOT / "bench" / "agent"
PORT = AGENT / "port" / "baremetal" / "ht_port_baremetal.c"
SOURCES = sorted((AGENT / "src").glob("*.c"))
NO_HOOKS = f'-DHEAP_HOOKS_FILE="{HERE / "no_hooks.h"}"'
PEER_HOOKS = f'-DHEAP_HOOKS_FILE="{HERE / "peer.h"}"'
PEERS = {"list of 16-address records": HERE / "list.c", "one malloc'ed node per block": HERE / "node.c"}
C_LIBRARY = ("memcpy", "memset", "strcmp", "strlen", "strncmp")
CORE, CONSOLE, STREAM = "-DIMAGE_CORE", "-DIMAGE_CONSOLE", "-DHT_STREAM=1"
BUILDS = (  # what is in it, how it is asked for, the goal for its code
    ("core", (CORE,), 3072),
    (
        "core, no double-free check, freeing stacks not kept",
        (CORE, "-DHT_CHECK_DOUBLE_FREE=0", "-DHT_FREE_STACKS=0"),
        None,
    ),
    ("core and console", (CORE, CONSOLE), None),
    ("core, console and stream", (CORE, CONSOLE, STREAM), 8192),
    ("core, stream and its commands, no listings", (CORE, CONSOLE, STREAM, "-DHT_DUMPS=0"), None),
    ("core and console, 256 records, 32 sites", (CORE, CONSOLE, "-DHT_RECORDS=256", "-DHT_SITES=32"), None),
)
TABLES = ("-DHT_EXIDX=1", "-funwind-tables")
INSTALL = "apt-get install qemu-system-misc qemu-system-arm gcc-riscv64-unknown-elf gcc-arm-none-eabi"


class Target(NamedTuple):
    name: str
    board: str
    prefix: str
    options: tuple[str, ...]
    qemu: tuple[str, ...]
    malloc_goal: int
    address_bytes: int


TARGETS = (
    Target(
        "RV64",
        "virt",
        "riscv64-unknown-elf-",
        ("-march=rv64imac_zicsr", "-mabi=lp64", "-mcmodel=medany", "-fno-omit-frame-pointer"),
        ("qemu-system-riscv64", "-M", "virt", "-bios", "none", "-icount", "shift=0"),
        340,
        8,
    ),
    Target(
        "Cortex-M3",
        "mps2",
        "arm-none-eabi-",
        ("-mcpu=cortex-m3", "-mthumb"),
        ("qemu-system-arm", "-M", "mps2-an385", "-semihosting", "-icount", "shift=10"),
        1000,
        4,
    ),
)


def compile_with(target: Target, *words: str | Path, optimize: str = "-O2") -> None:
    include = [FIRMWARE, AGENT / "include", PORT.parent, HERE]
    flags = ("-std=c11", "-g", "-ffreestanding", "-nostdlib", "-fno-tree-loop-distribute-patterns")
    flags += ("-fno-asynchronous-unwind-tables", "-DHT_CPU_LOCK=1")
    command = [f"{target.prefix}gcc", *target.options, optimize, *flags, f"-isystem{FIRMWARE / 'libc'}"]
    command += [f"-I{path}" for path in include]
    built = subprocess.run([*command, *map(str, words)], capture_output=True, text=True, check=False)
    if built.returncode != 0:
        sys.exit(built.stderr)


def counted(target: Target, folder: Path, *words: str | Path) -> dict[str, float]:
    """Instructions of one malloc and one free, with these sources and options."""
    elf = folder / "bench.elf"
    boards = [FIRMWARE / f"{target.board}.c", FIRMWARE / "board.c", FIRMWARE / "heap.c", HERE / "measure.c", PORT]
    compile_with(target, "-T", FIRMWARE / f"{target.board}.ld", *boards, *words, "-lgcc", "-o", elf)
    flags = ("-nographic", "-monitor", "none", "-serial", "stdio", "-kernel", str(elf))
    ended = subprocess.run(
        [*target.qemu, *flags], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True, timeout=60
    )
    found = {name: int(value) for name, value in re.findall(r"(\w+) (\d+)", ended.stdout)}
    assert found.get("depth", 8) == (0 if "-DHT_DEPTH=0" in words else 8), f"the stack has {found['depth']} frames"
    return {"malloc": found["malloc"] / 10, "free": found["free"] / 10, "record": found.get("record", 0)}


def linked(target: Target, folder: Path, *words: str | Path) -> tuple[int, int]:
    """Bytes of code with constants, and of RAM, of a whole firmware; unused functions are left out by the linker."""
    elf = folder / "image.elf"
    boards = [FIRMWARE / f"{target.board}.c", FIRMWARE / "board.c", FIRMWARE / "heap.c", HERE / "image.c", PORT]
    lean = ("-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections", "-Wl,-e,_start")
    library = [f"-Wl,-u,{name}" for name in C_LIBRARY]  # there in any firmware
    script = FIRMWARE / f"{target.board}.ld"
    compile_with(target, "-T", script, *boards, *lean, *library, *words, "-lgcc", "-o", elf, optimize="-Os")
    listed = subprocess.run([f"{target.prefix}size", elf], capture_output=True, text=True, check=True)
    text, data, bss = map(int, listed.stdout.splitlines()[1].split()[:3])
    return text + data, data + bss


def instruction_rows(target: Target, folder: Path) -> list[Row]:
    absent = counted(target, folder, NO_HOOKS)
    cases = {
        "agent": counted(target, folder, "-DWITH_AGENT=1", *SOURCES),
        "agent, freeing stacks not kept": counted(target, folder, "-DWITH_AGENT=1", "-DHT_FREE_STACKS=0", *SOURCES),
        "agent, depth 0": counted(target, folder, "-DWITH_AGENT=1", "-DHT_DEPTH=0", "-DHT_FREE_STACKS=0", *SOURCES),
        "agent, streaming": counted(target, folder, "-DWITH_AGENT=1", "-DWITH_STREAM", STREAM, *SOURCES),
        "agent, switched off": counted(target, folder, "-DWITH_AGENT=0", *SOURCES),
        **{name: counted(target, folder, "-DWITH_PEER", PEER_HOOKS, source) for name, source in PEERS.items()},
    }
    if target.board == "mps2":
        cases["agent, unwind tables"] = counted(target, folder, "-DWITH_AGENT=1", *TABLES, *SOURCES)
    rows = [
        Row(f"{target.name}, tracer absent", f"instructions a {what}", absent[what], "") for what in ("malloc", "free")
    ]
    goals = {"malloc": target.malloc_goal, "free": 60}
    for case, found in cases.items():
        for what, goal in goals.items():
            against = goal if case == "agent" else None
            added = round(found[what] - absent[what], 1)
            rows.append(
                Row(f"{target.name}, {case}", f"instructions added a {what}", added, "", against, "tracer absent")
            )
    rows += [
        Row(f"{target.name}, {name}", "RAM a live record, heap header counted", in_heap(cases[name]["record"]), "B")
        for name in PEERS
    ]
    return rows


def in_heap(record_bytes: float) -> int:
    """What the heap of tests/firmware sets aside for it."""
    return (int(record_bytes) + 16 + 15) & ~15


def memory_rows(target: Target, folder: Path) -> list[Row]:
    # The vendor's record: 92 bytes with 16 addresses on 32-bit and 176 on 64-bit, with heap_4's header and rounding.
    record = 8 + 2 * target.address_bytes
    ours = record * (1024 + 1024 // 16 + 1) / 1024
    vendors = 104 if target.address_bytes == 4 else 192
    rows = [
        Row(f"{target.name}, agent", "RAM a live record, empty slots counted", round(ours, 2), "B"),
        Row(f"{target.name}, agent", "records smaller", round(vendors / ours, 2), "times", 6, "vendor's, 16 addresses"),
    ]
    code_absent, ram_absent = linked(target, folder, NO_HOOKS)
    builds = BUILDS
    if target.board == "mps2":
        builds += (("core and console, unwind tables", (CORE, CONSOLE, *TABLES), None),)
    for what, words, goal in builds:
        code, ram = linked(target, folder, *words, *SOURCES)
        rows.append(Row(f"{target.name}, {what}", "code added", code - code_absent, "B", goal, "tracer absent"))
        rows.append(Row(f"{target.name}, {what}", "RAM added", ram - ram_absent, "B", None, "tracer absent"))
    for name, source in PEERS.items():
        code, ram = linked(target, folder, PEER_HOOKS, source)
        rows.append(Row(f"{target.name}, {name}", "code added", code - code_absent, "B", None, "tracer absent"))
        rows.append(Row(f"{target.name}, {name}", "RAM added", ram - ram_absent, "B", None, "tracer absent"))
    return rows


def main() -> int:
    needed = [tool for target in TARGETS for tool in (f"{target.prefix}gcc", target.qemu[0])]
    missing = [tool for tool in needed if shutil.which(tool) is None]
    if missing:
        print(f"needs {', '.join(missing)}: {INSTALL}", file=sys.stderr)
        return 2
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for target in TARGETS:
            rows += instruction_rows(target, Path(folder))
            rows += memory_rows(target, Path(folder))
    write_table("agent", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
