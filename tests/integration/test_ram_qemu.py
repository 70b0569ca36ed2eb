"""A kernel-shaped program in QEMU that knows which of its blocks are lost, stopped at any instruction.

Needs QEMU and a cross compiler for each board, which tests/firmware names; what is missing skips its board.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

import pytest

from heaptrail.clock import SystemClock
from heaptrail.limits import DEFAULT_LIMITS
from heaptrail.ram.firmware import Firmware
from heaptrail.ram.gdb import GdbTarget
from heaptrail.ram.images import Image, read_image
from heaptrail.ram.reach import REACHABLE, UNREACHABLE
from heaptrail.ram.survey import Question, Survey, survey

if TYPE_CHECKING:
    from conftest import Heaptrail

TESTS = Path(__file__).resolve().parents[1]
HARNESS, PROGRAM = TESTS / "firmware", TESTS / "ram_firmware" / "kernel.c"
AGENT = TESTS.parent / "agent"
BAREMETAL = AGENT / "port" / "baremetal"
NOT_LINKED = ("ht_wire", "ht_stream")
COMMON = (
    *("-O2", "-g", "-std=c11", "-Wall", "-Wextra", "-ffreestanding", "-nostdlib"),
    *("-fno-tree-loop-distribute-patterns", "-Wl,--build-id"),
)
STOPS = 30
STEPS_AT_MOST = 400
IN_FLIGHT = 4
"""The last blocks lost may still be in a register or in the frame that lost them."""


class Machine(NamedTuple):
    name: str
    compiler: tuple[str, ...]
    qemu: tuple[str, ...]
    ram: tuple[int, int]


MACHINES = [
    Machine(
        "virt",
        ("riscv64-unknown-elf-gcc", "-march=rv64imac_zicsr", "-mabi=lp64", "-mcmodel=medany"),
        ("qemu-system-riscv64", "-M", "virt", "-bios", "none", "-m", "16M"),
        (0x8000_0000, 0x10_0000),
    ),
    Machine(
        "mps2",
        ("arm-none-eabi-gcc", "-mcpu=cortex-m3", "-mthumb"),
        ("qemu-system-arm", "-M", "mps2-an385"),
        (0x2000_0000, 0x10_0000),
    ),
]


class Qemu:
    """A machine that stands still, its gdb server and its monitor."""

    def __init__(self, machine: Machine, folder: Path, *defines: str) -> None:
        self.elf = folder / "kernel.elf"
        sources = [HARNESS / f"{machine.name}.c", HARNESS / "board.c", PROGRAM]
        if "-DTRACED" in defines:
            sources += [path for path in sorted((AGENT / "src").glob("*.c")) if path.stem not in NOT_LINKED]
            sources.append(BAREMETAL / "ht_port_baremetal.c")
        include = (f"-isystem{HARNESS / 'libc'}", f"-I{HARNESS}", f"-I{AGENT / 'include'}")
        words = [*machine.compiler, *COMMON, *include, f"-I{BAREMETAL}", *defines]
        link = ["-T", HARNESS / f"{machine.name}.ld", *sources, "-lgcc", "-o", self.elf]
        built = subprocess.run([*words, *link], capture_output=True, text=True, timeout=120, check=False)
        assert built.returncode == 0, built.stderr
        self.firmware = Firmware(self.elf, DEFAULT_LIMITS)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        self.spec = f"gdb:127.0.0.1:{port}"
        self._monitor_path = folder / "monitor"
        self._process = subprocess.Popen(
            [
                *machine.qemu,
                *("-display", "none", "-serial", "null", "-kernel", str(self.elf), "-S"),
                *("-gdb", f"tcp:127.0.0.1:{port}", "-qmp", f"unix:{self._monitor_path},server,nowait"),
            ],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def __enter__(self) -> Self:
        end = time.monotonic() + 20
        while True:
            self._monitor = socket.socket(socket.AF_UNIX)
            try:
                self._monitor.connect(str(self._monitor_path))
                break
            except OSError:
                self._monitor.close()
                assert time.monotonic() < end, "QEMU opened no monitor"
        self._monitor.settimeout(20)
        self._lines = self._monitor.makefile("rwb")
        self._lines.readline()
        self.ask("qmp_capabilities")
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self._monitor.close()
        self._process.kill()
        self._process.wait()

    def ask(self, command: str, **arguments: object) -> None:
        """One command of the monitor, to its end."""
        self._lines.write(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        self._lines.flush()
        while "return" not in (reply := json.loads(self._lines.readline())):
            assert "error" not in reply, reply


@pytest.fixture(params=MACHINES, ids=lambda machine: machine.name)
def machine(request: pytest.FixtureRequest) -> Machine:
    found: Machine = request.param
    missing = [tool for tool in (found.compiler[0], found.qemu[0]) if shutil.which(tool) is None]
    if missing:
        text = f"needs {' and '.join(missing)}"
        if os.environ.get("HEAPTRAIL_NO_SKIP"):
            pytest.fail(text)
        pytest.skip(text)
    return found


def truth(image: Image, firmware: Firmware) -> tuple[list[int], set[int]]:
    """The lost blocks, oldest first, and those of which nobody may say anything at this moment."""
    memory, word = image.memory, firmware.word_bytes
    every = (1 << (8 * word)) - 1

    def value(name: str, index: int = 0, size: int = word) -> int:
        symbol = firmware.variable(name)
        assert symbol is not None
        found = memory.number(symbol.address + index * word, size)
        assert found is not None
        return found

    lost = [value("ram_lost", index) ^ every for index in range(value("ram_lost_count", size=4))]
    changing, hidden = value("ram_changing"), value("ram_hidden")
    return lost, {raw ^ every for raw in (changing, hidden) if raw}


def step(target: GdbTarget, count: int) -> None:
    for _ in range(count):
        target._send(b"s")
        target._wait_for_stop()


def states(found: Survey) -> dict[int, int]:
    return {block.address: state for block, state in zip(found.heap.live, found.reach.states, strict=True)}


def check(found: Survey, firmware: Firmware) -> int:
    """No block accused that is not lost, none missed but the last; gives how many are lost."""
    lost, unsayable = truth(found.image, firmware)
    unreachable = {address for address, state in states(found).items() if state == UNREACHABLE}
    assert unreachable - set(lost) - unsayable == set(), "accused though it is in use"
    missed = set(lost[:-IN_FLIGHT]) - unreachable
    assert missed == set(), "lost and not found"
    assert found.heap.corrupt == ()
    assert found.conclusive
    return len(lost)


@pytest.mark.parametrize("defines", [(), ("-DPROTECTED",)], ids=["plain", "protector"])
def test_at_any_instruction_the_lost_blocks_are_found_and_no_other(
    machine: Machine, tmp_path: Path, defines: tuple[str, ...]
) -> None:
    chooser = random.Random(1)
    counts = []
    with (
        Qemu(machine, tmp_path, *defines) as qemu,
        GdbTarget(qemu.spec, qemu.firmware, SystemClock()) as target,
    ):
        for number in range(STOPS if not defines else STOPS // 5):
            target.run_to("round_begins")
            step(target, chooser.randrange(STEPS_AT_MOST))
            found = survey(target.image(number), qemu.firmware, Question())
            counts.append(check(found, qemu.firmware))
            # One task may be between two lists, and is then said to be missing.
            assert (
                len(found.tasks) == 3 or "the kernel counts 3 tasks, its lists hold 2" in dict(found.problems).values()
            )

    assert counts[-1] > len(counts)
    assert counts == sorted(counts)


def test_halted_within_the_heaps_and_the_kernels_own_functions(machine: Machine, tmp_path: Path) -> None:
    """In the middle of an allocation, of an insertion into the free list, of a task's move from list to list."""
    chooser = random.Random(2)
    places = ("pvPortMalloc", "vPortFree", "list_insert_end", "list_remove")
    with (
        Qemu(machine, tmp_path) as qemu,
        GdbTarget(qemu.spec, qemu.firmware, SystemClock()) as target,
    ):
        for number in range(STOPS):
            target.run_to(places[number % len(places)])
            step(target, chooser.randrange(1, 40))
            found = survey(target.image(number), qemu.firmware, Question())
            check(found, qemu.firmware)

    assert found.heap.live


def test_the_agents_tables_name_who_lost_the_blocks(machine: Machine, tmp_path: Path, heaptrail: Heaptrail) -> None:
    options = ("-DTRACED", *(("-fno-omit-frame-pointer",) if machine.name == "virt" else ()))
    with Qemu(machine, tmp_path, *options) as qemu:
        with GdbTarget(qemu.spec, qemu.firmware, SystemClock()) as target:
            for _ in range(20):
                target.run_to("round_begins")
            found = survey(target.image(1), qemu.firmware, Question())
        done = heaptrail("ram", qemu.spec, "--elf", qemu.elf, "--format", "json")

    assert check(found, qemu.firmware) > 20
    lost = [found.origins[index] for index in found.with_state(UNREACHABLE)]
    traced = [origin for origin in lost if origin.task == "AudioRender"]
    assert len(traced) >= len(lost) - 1, "all but what was allocated before the first switch"
    assert {origin.requested_bytes for origin in traced} <= {0xF0, 0xE0, 24}
    assert done.returncode == 1, done.stderr
    leaks = [finding for finding in json.loads(done.stdout)["findings"] if finding["class"] == "leak"]
    functions = {frame["function"] for finding in leaks for site in finding["sites"] for frame in site["frames"]}
    assert {"buffer", "play"} <= functions
    assert all(finding["tasks"] == ["AudioRender"] for finding in leaks)


def test_monitor_core_file_and_gdb_server_give_the_same_answer(machine: Machine, tmp_path: Path) -> None:
    with (
        Qemu(machine, tmp_path) as qemu,
        GdbTarget(qemu.spec, qemu.firmware, SystemClock()) as target,
    ):
        for _ in range(20):
            target.run_to("round_begins")
        first, size = machine.ram
        qemu.ask("pmemsave", val=first, size=size, filename=str(tmp_path / "ram.bin"))
        qemu.ask("dump-guest-memory", paging=False, protocol=f"file:{tmp_path / 'core'}")
        from_server = survey(target.image(1), qemu.firmware, Question())
    from_core = survey(read_image(str(tmp_path / "core"), qemu.firmware, DEFAULT_LIMITS), qemu.firmware, Question())
    raw = read_image(f"{tmp_path / 'ram.bin'}@{first:#x}", qemu.firmware, DEFAULT_LIMITS)
    from_monitor = survey(raw, qemu.firmware, Question())

    assert check(from_server, qemu.firmware) > 20
    assert states(from_core) == states(from_server)
    assert from_monitor.heap == from_server.heap
    # Without registers the running task's stack is scanned whole: what it holds is masked, nothing more is accused.
    differing = {at for at, state in states(from_monitor).items() if state != states(from_server)[at]}
    assert all(states(from_server)[at] in (REACHABLE, UNREACHABLE) for at in differing)
    assert len(differing) <= IN_FLIGHT


def test_the_first_failed_allocation_takes_the_image_and_keeps_it(
    machine: Machine, tmp_path: Path, heaptrail: Heaptrail
) -> None:
    core = tmp_path / "failed.core"
    with Qemu(machine, tmp_path, "-DHUNGRY") as qemu:
        options = ("--elf", qemu.elf, "--format", "json")
        live = heaptrail("ram", qemu.spec, *options, "--at-failure", "auto", "--save", core)
    kept = heaptrail("ram", core, *options)

    assert live.returncode == 1, live.stderr
    report, again = json.loads(live.stdout), json.loads(kept.stdout)
    texts = [problem["text"] for problem in report["problems"]]
    assert any("taken when vApplicationMallocFailedHook was called" in text for text in texts)
    assert report["series"][0]["points"][0]["largest_free_bytes"] < 0x100 + 64
    found = survey(read_image(str(core), qemu.firmware, DEFAULT_LIMITS), qemu.firmware, Question())
    failures = qemu.firmware.variable("ram_failures")
    assert failures is not None
    assert found.image.memory.number(failures.address, 4) == 0, "the very first: it was not counted yet"
    assert check(found, qemu.firmware) > 100
    assert [finding["summary"] for finding in again["findings"]] == [item["summary"] for item in report["findings"]]


def test_watching_a_target_counts_two_blocks_a_round(machine: Machine, tmp_path: Path, heaptrail: Heaptrail) -> None:
    with Qemu(machine, tmp_path) as qemu:
        watch = ("--watch", "6", "--cycle-at", "round_begins", "--cycle-counter", "ram_cycles")
        done = heaptrail("ram", qemu.spec, "--elf", qemu.elf, *watch, "--format", "json")

    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    growing = {finding["sites"][0]["sizes_bytes"][0]: finding for finding in report["findings"]
               if finding["class"] == "leak"}  # fmt: skip
    assert len(growing) == 2
    assert all(0.9 <= finding["per_cycle_blocks"] <= 1.1 for finding in growing.values())
    assert "was halted for" in done.stderr
