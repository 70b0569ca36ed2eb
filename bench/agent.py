"""What the agent costs on a board: instructions a malloc and a free, bytes of RAM a record, code and data.

The firmware of tests/firmware is built with the agent, without any tracer, and with a linked list of 16-address records
in the same heap (the design in use), and run in QEMU, which counts instructions exactly. Instructions are not cycles.
Figures are those of -O2, GCC of Debian; the stack is 8 frames, known already, and 64 other blocks are live. The list is
shown at its best: the block that is freed is the newest, which it finds at once; any other costs a walk.
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
CORE = [AGENT / "src" / f"{name}.c" for name in ("ht_agent", "ht_stacks", "ht_store")]
CONSOLE = [AGENT / "src" / f"{name}.c" for name in ("ht_build_id", "ht_console", "ht_read", "ht_text")]
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
    subprocess.run([*command, *map(str, words)], check=True, stderr=subprocess.DEVNULL)


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
    return {"malloc": found["malloc"] / 10, "free": found["free"] / 10}


def sizes(target: Target, folder: Path, sources: list[Path], *words: str, optimize: str) -> tuple[int, int]:
    """Bytes of code with constants, and of RAM."""
    code, ram = 0, 0
    for source in sources:
        compile_with(target, *words, "-c", source, "-o", folder / "a.o", optimize=optimize)
        listed = subprocess.run([f"{target.prefix}size", folder / "a.o"], capture_output=True, text=True, check=True)
        text, data, bss = map(int, listed.stdout.splitlines()[1].split()[:3])
        code, ram = code + text + data, ram + data + bss
    return code, ram


def instruction_rows(target: Target, folder: Path) -> list[Row]:
    absent = counted(target, folder, f'-DHEAP_HOOKS_FILE="{HERE / "no_hooks.h"}"')
    agent = [*CORE, *CONSOLE]
    cases = {
        "agent": counted(target, folder, "-DWITH_AGENT=1", *agent),
        "agent, freeing stacks not kept": counted(target, folder, "-DWITH_AGENT=1", "-DHT_FREE_STACKS=0", *agent),
        "agent, depth 0": counted(target, folder, "-DWITH_AGENT=1", "-DHT_DEPTH=0", "-DHT_FREE_STACKS=0", *agent),
        "agent, switched off": counted(target, folder, "-DWITH_AGENT=0", *agent),
        "list, the newest is freed": counted(
            target, folder, f'-DHEAP_HOOKS_FILE="{HERE / "list_hooks.h"}"', HERE / "list.c"
        ),
    }
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
    return rows


def memory_rows(target: Target, folder: Path) -> list[Row]:
    # The vendor's record: 92 bytes with 16 addresses on 32-bit and 176 on 64-bit, with heap_4's header and rounding.
    record = 8 + 2 * target.address_bytes
    slots = 1024 + 1024 // 16 + 1
    ours = record * slots / 1024
    vendors = 104 if target.address_bytes == 4 else 192
    rows = [
        Row(f"{target.name}, agent", "RAM a live record, empty slots counted", round(ours, 2), "B"),
        Row(f"{target.name}, agent", "records smaller", round(vendors / ours, 2), "times", 6, "vendor's, 16 addresses"),
    ]
    for optimize in ("-O2", "-Os"):
        core, ram = sizes(target, folder, [*CORE, PORT], optimize=optimize)
        console, _ = sizes(target, folder, CONSOLE, optimize=optimize)
        case = f"{target.name}, agent, {optimize}"
        rows.append(Row(case, "code of the core with port", core, "B", 3072))
        rows.append(Row(case, "code with console, no stream", core + console, "B", 8192))
        if optimize == "-O2":
            rows.append(Row(case, "RAM of the default configuration", ram, "B"))
            _, small = sizes(target, folder, CORE, "-DHT_RECORDS=256", "-DHT_SITES=32", optimize=optimize)
            rows.append(Row(f"{case}, 256 records, 32 sites", "RAM", small, "B"))
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
