"""The ports compile without a warning for the CPUs that they are for, and refuse what contradicts itself."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Board

    Compile = Callable[..., subprocess.CompletedProcess[str]]
    Run = Callable[[Board, Path], str]

pytestmark = pytest.mark.firmware
HERE = Path(__file__).resolve().parent
AGENT = HERE.parents[1] / "agent"
PORTS = AGENT / "port"
FREERTOS = (f"-I{HERE / 'freertos'}", f"-I{PORTS / 'freertos'}")
HEAP_1 = ("-DHT_FREERTOS_HEAP=1", "-DHT_BLOCK_SIZES=1")
HEAP_4 = ("-DHT_FREERTOS_HEAP=4", "-DHT_BLOCK_SIZES=1")


@pytest.mark.parametrize(
    "options",
    [
        HEAP_4,
        ("-DHT_FREERTOS_HEAP=3",),
        (*HEAP_4, "-DconfigNUMBER_OF_CORES=2"),
        (*HEAP_4, "-DconfigNUM_CORES=2"),
        (*HEAP_4, "-DconfigENABLE_HEAP_PROTECTOR=1"),
        (*HEAP_4, "-DHT_FREERTOS_WRAP_FREE=1"),
        (*HEAP_4, "-DWITHOUT_ISR_STACK", "-DHT_FREERTOS_ISR_STACK_BYTES=2048"),
    ],
    ids=["heap_4", "heap_3", "two-cores", "two-cores-202110", "heap-protector", "wrapped-free", "linked-isr-stack"],
)
def test_the_freertos_port_compiles(
    board: Board, compile_for: Compile, tmp_path: Path, options: tuple[str, ...]
) -> None:
    for source in (PORTS / "freertos" / "ht_port_freertos.c", HERE / "freertos" / "kernel.c"):
        built = compile_for(board, *options, *FREERTOS, "-c", source, "-o", tmp_path / "a.o")
        assert built.returncode == 0, built.stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ((), "say which heap_N.c is linked: -DHT_FREERTOS_HEAP=4"),
        (("-DHT_FREERTOS_HEAP=6",), "HT_FREERTOS_HEAP must be 1..5"),
        (("-DHT_FREERTOS_HEAP=4",), "set -DHT_BLOCK_SIZES=1"),
        (("-DHT_FREERTOS_HEAP=3", "-DHT_BLOCK_SIZES=1"), "heap_3 tells the size asked for"),
        ((*HEAP_4, "-DWITHOUT_TRACE_FACILITY"), "set configUSE_TRACE_FACILITY to 1"),
        ((*HEAP_4, "-DWITHOUT_STACK_ENDS"), "set configRECORD_STACK_HIGH_ADDRESS to 1"),
        ((*HEAP_4, "-DWITHOUT_STACK_ENDS"), "or, for a kernel of V8 or V9, -DHT_FREERTOS_KERNEL=9"),
        ((*HEAP_4, "-DWITH_ANOTHER_TRACER"), "is taken by another tracer"),
        ((*HEAP_4, "-DtraceTASK_SWITCHED_IN()="), "call HT_FREERTOS_CREATED and HT_FREERTOS_SWITCHED_IN from it"),
    ],
)
def test_the_freertos_port_refuses_a_contradiction_with_the_way_out(
    board: Board, compile_for: Compile, tmp_path: Path, options: tuple[str, ...], says: str
) -> None:
    source = HERE / "freertos" / "kernel.c"
    built = compile_for(board, *options, *FREERTOS, "-c", source, "-o", tmp_path / "a.o")

    assert built.returncode != 0
    assert says in built.stderr


def test_the_freertos_port_refuses_what_the_core_cannot_do(board: Board, compile_for: Compile, tmp_path: Path) -> None:
    two_cores = (*HEAP_4, "-DconfigNUMBER_OF_CORES=2")
    options, says = {
        "virt": ((*HEAP_4, "-DWITHOUT_ISR_STACK"), "to tell interrupts by their stack: set configISR_STACK_SIZE_WORDS"),
        "mps2": ((*two_cores, "-mcpu=cortex-m0plus"), "this core has no atomic exchange: define HT_FREERTOS_SPIN()"),
    }[board.name]
    built = compile_for(
        board, *options, *FREERTOS, "-c", PORTS / "freertos" / "ht_port_freertos.c", "-o", tmp_path / "a.o"
    )

    assert built.returncode != 0
    assert says in built.stderr


def test_every_refusal_of_a_port_is_tested() -> None:
    """By some test of this file, which names what the compiler says."""
    here = Path(__file__).read_text(encoding="utf-8")
    tested = re.findall(r'"([^"\n]{12,})"', here)
    for path in sorted(PORTS.rglob("*.[ch]")):
        for said in re.findall(r'#error "(.*)"$', path.read_text(encoding="utf-8"), re.MULTILINE):
            assert any(words in said for words in tested), f"{path.name}: {said}"


def stand_in(board: Board, compile_for: Compile, folder: Path, *options: str) -> Path:
    """The stand-in kernel's program with the agent and the port, linked."""
    elf = folder / "program.elf"
    agent = [path for path in sorted((AGENT / "src").glob("*.c")) if "wire" not in path.name]
    ours = [HERE / f"{board.name}.c", HERE / "board.c", *sorted((HERE / "freertos").glob("*.c"))]
    port = PORTS / "freertos" / "ht_port_freertos.c"
    sources = (*ours, *agent, port, "-lgcc")
    heap = () if options[:1] == HEAP_1[:1] else HEAP_4
    built = compile_for(board, *heap, *FREERTOS, *options, "-T", HERE / f"{board.name}.ld", *sources, "-o", elf)
    assert built.returncode == 0, built.stderr
    return elf


def owners(console: str) -> dict[int, str]:
    """Sizes of the listed blocks, and who allocated them."""
    rows = re.findall(r"ptr = 0x\w+, size = 0x(\w+), thread = (.*)", console)
    return {int(size, 16): thread.strip() for size, thread in rows}


def test_blocks_have_the_task_the_start_up_or_the_interrupt_that_allocated_them(
    board: Board, compile_for: Compile, run: Run, tmp_path: Path
) -> None:
    found = owners(run(board, stand_in(board, compile_for, tmp_path)))

    chains = dict.fromkeys((610, 620, 630), "second")
    assert found == {100: "(start-up)", 200: "first", 300: "second", 500: "ISR", **chains}


def test_a_heap_that_frees_nothing_has_a_whole_dump_of_all_its_blocks(
    board: Board, compile_for: Compile, run: Run, tmp_path: Path
) -> None:
    console = run(board, stand_in(board, compile_for, tmp_path, *HEAP_1))

    chains = dict.fromkeys((400, 610, 620, 630), "second")
    assert owners(console) == {100: "(start-up)", 200: "first", 300: "second", 500: "ISR", **chains}
    assert re.search(r"end dump items=8 bytes=3360 .* missed=0 double=0 null=0 ", console)


def test_a_backtrace_has_the_callers_and_no_leftovers(
    board: Board, compile_for: Compile, run: Run, tmp_path: Path
) -> None:
    elf = stand_in(board, compile_for, tmp_path)
    console = run(board, elf)

    for size, caller in ((610, "littered"), (620, "by_pointer"), (630, "before_a_jump")):
        found = chain(elf, console, f"size = {size:#010x}", board)
        assert found == ["pvPortMalloc", "work", caller, "second_task"]


def test_a_kernel_that_does_not_tell_of_its_first_switch_has_a_first_task_all_the_same(
    board: Board, compile_for: Compile, run: Run, tmp_path: Path
) -> None:
    found = owners(run(board, stand_in(board, compile_for, tmp_path, "-DFIRST_SWITCH_UNTOLD")))

    told_by_stack = board.name == "mps2"  # such kernels have no port for RISC-V
    assert found[200] == ("first" if told_by_stack else "(start-up)")
    assert found[300] == "second"


def test_a_kernel_without_stack_ends_has_backtraces(
    board: Board, compile_for: Compile, run: Run, tmp_path: Path
) -> None:
    options = ("-DWITHOUT_STACK_ENDS", "-DHT_FREERTOS_KERNEL=9")
    if board.name == "virt":
        built = compile_for(board, *HEAP_4, *FREERTOS, *options, "-c", HERE / "freertos" / "kernel.c")
        assert "kernels before V10 are supported on Cortex-M only" in built.stderr
        return

    elf = stand_in(board, compile_for, tmp_path, *options)

    console = run(board, elf)
    assert owners(console)[200] == "first"
    assert chain(elf, console, "thread = first", board) == ["pvPortMalloc", "work", "first_task"]


def chain(elf: Path, console: str, mark: str, board: Board) -> list[str]:
    """The functions of one block's backtrace, innermost first, by the compiler's own addr2line."""
    frames = re.findall(r"backtrace : 0x(\w+)", console.partition(mark)[2].partition("ptr =")[0])
    tool = board.compiler.removesuffix("gcc") + "addr2line"
    told = subprocess.run(
        [tool, "-f", "-s", "-e", str(elf), *frames], capture_output=True, text=True, timeout=60, check=True
    )
    return told.stdout.splitlines()[::2]


def test_a_double_free_that_the_heap_swallows_is_seen_by_the_wrapped_free(
    board: Board, compile_for: Compile, run: Run, tmp_path: Path
) -> None:
    unseen = run(board, stand_in(board, compile_for, tmp_path))
    wrapped = ("-DHT_FREERTOS_WRAP_FREE=1", "-Wl,--wrap=vPortFree")
    seen = run(board, stand_in(board, compile_for, tmp_path, *wrapped))

    assert " double=0 null=0 " in unseen
    assert " double=1 null=1 " in seen
    assert owners(seen) == owners(unseen)


def test_a_core_without_exclusive_access_needs_no_atomics_of_a_library(
    board: Board, compile_for: Compile, tmp_path: Path
) -> None:
    core = ("-mcpu=cortex-m0",) if board.name == "mps2" else ("-march=rv32ic_zicsr", "-mabi=ilp32")
    for source in (PORTS / "freertos" / "ht_port_freertos.c", *sorted((AGENT / "src").glob("*.c"))):
        options = (*core, "-g0", *HEAP_4, *FREERTOS)
        built = compile_for(board, *options, "-S", source, "-o", tmp_path / "small.s")

        assert built.returncode == 0, built.stderr
        assert "__atomic" not in (tmp_path / "small.s").read_text(encoding="utf-8")


def test_a_lock_that_keeps_no_other_core_out_is_refused(board: Board, compile_for: Compile, tmp_path: Path) -> None:
    source = PORTS / "freertos" / "ht_port_freertos.c"
    options = (*HEAP_4, "-DHT_CPU_LOCK=1")
    one_core = compile_for(board, *options, *FREERTOS, "-c", source, "-o", tmp_path / "a.o")
    two_cores = compile_for(
        board, *options, "-DconfigNUMBER_OF_CORES=2", *FREERTOS, "-c", source, "-o", tmp_path / "a.o"
    )

    assert one_core.returncode == 0, one_core.stderr
    assert "HT_CPU_LOCK keeps interrupts out, not another core" in two_cores.stderr


def test_the_bare_metal_port_refuses_a_backtrace_that_the_cpu_cannot_have(
    board: Board, compile_for: Compile, tmp_path: Path
) -> None:
    source = PORTS / "baremetal" / "ht_port_baremetal.c"
    both = ("-DHT_BACKTRACE_FRAMES", "-DHT_BACKTRACE_SCAN")
    other, says = {
        "virt": ("-DHT_BACKTRACE_SCAN", "use HT_BACKTRACE_FRAMES with -fno-omit-frame-pointer"),
        "mps2": ("-DHT_BACKTRACE_FRAMES", "use HT_BACKTRACE_SCAN"),
    }[board.name]
    wrong = compile_for(board, other, "-c", source, "-o", tmp_path / "a.o")
    undecided = compile_for(board, *both, "-c", source, "-o", tmp_path / "a.o")

    assert wrong.returncode != 0 != undecided.returncode
    assert says in wrong.stderr
    assert "exclude each other: leave both out, the CPU decides" in undecided.stderr


def test_a_wrap_of_new_that_would_count_twice_is_refused(board: Board, compile_for: Compile, tmp_path: Path) -> None:
    source = PORTS / "wrap" / "ht_wrap_cxx.c"
    refused = compile_for(board, "-c", source, "-o", tmp_path / "a.o")
    built = compile_for(board, "-DHT_NEW_HAS_ITS_OWN_HEAP=1", "-c", source, "-o", tmp_path / "a.o")

    assert "each object would be counted twice" in refused.stderr
    assert built.returncode == 0, built.stderr


def test_the_freertos_header_shows_its_one_line_on_the_first_screen() -> None:
    first_screen = (PORTS / "freertos" / "ht_port_freertos.h").read_text(encoding="utf-8").splitlines()[:24]

    assert any('#include "ht_port_freertos.h"' in line for line in first_screen)
