"""The ports compile without a warning for the CPUs that they are for, and refuse what contradicts itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from conftest import Board

    Compile = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.firmware
HERE = Path(__file__).resolve().parent
PORTS = HERE.parents[1] / "agent" / "port"
FREERTOS = (f"-I{HERE / 'freertos'}", f"-I{PORTS / 'freertos'}")
HEAP_4 = ("-DHT_FREERTOS_HEAP=4", "-DHT_BLOCK_SIZES=1")


@pytest.mark.parametrize(
    "options",
    [
        HEAP_4,
        ("-DHT_FREERTOS_HEAP=3",),
        (*HEAP_4, "-DconfigNUMBER_OF_CORES=2"),
        (*HEAP_4, "-DconfigENABLE_HEAP_PROTECTOR=1"),
    ],
    ids=["heap_4", "heap_3", "two-cores", "heap-protector"],
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
        ((*HEAP_4, "-DWITH_ANOTHER_TRACER"), "is taken by another tracer"),
    ],
)
def test_the_freertos_port_refuses_a_contradiction_with_the_way_out(
    board: Board, compile_for: Compile, tmp_path: Path, options: tuple[str, ...], says: str
) -> None:
    source = HERE / "freertos" / "kernel.c"
    built = compile_for(board, *options, *FREERTOS, "-c", source, "-o", tmp_path / "a.o")

    assert built.returncode != 0
    assert says in built.stderr


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
    option, says = ("-DHT_BACKTRACE_SCAN", "FRAMES") if board.name == "virt" else ("-DHT_BACKTRACE_FRAMES", "SCAN")
    built = compile_for(board, option, "-c", source, "-o", tmp_path / "a.o")

    assert built.returncode != 0
    assert f"use HT_BACKTRACE_{says}" in built.stderr


def test_a_wrap_of_new_that_would_count_twice_is_refused(board: Board, compile_for: Compile, tmp_path: Path) -> None:
    source = PORTS / "wrap" / "ht_wrap_cxx.c"
    refused = compile_for(board, "-c", source, "-o", tmp_path / "a.o")
    built = compile_for(board, "-DHT_NEW_HAS_ITS_OWN_HEAP=1", "-c", source, "-o", tmp_path / "a.o")

    assert "each object would be counted twice" in refused.stderr
    assert built.returncode == 0, built.stderr


def test_the_freertos_header_shows_its_one_line_on_the_first_screen() -> None:
    first_screen = (PORTS / "freertos" / "ht_port_freertos.h").read_text(encoding="utf-8").splitlines()[:24]

    assert any('#include "ht_port_freertos.h"' in line for line in first_screen)
