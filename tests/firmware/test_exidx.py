"""Backtraces from unwind tables on Cortex-M3: the known chains, and nothing else, however the code was compiled."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from heaptrail.model.observations import Block
from heaptrail.reading import ReadOptions, observe
from heaptrail.symbols.lines import open_symbolizer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Board, Compile

pytestmark = pytest.mark.firmware
TABLES = ("-DHT_EXIDX=1", "-funwind-tables")
ABOVE = ("track_start", "start_device", "render", "cycle", "audio_render")
SOFTVOL = ("board_malloc", "board_calloc", "softvol_update", *ABOVE)
RESAMPLE = ("board_malloc", "board_calloc", "resample_update", *ABOVE)


on_cortex = pytest.mark.parametrize("board", ["mps2"], indirect=True, scope="session")


def chains(elf: Path, printed: bytes, folder: Path) -> dict[int, set[tuple[str | None, ...]]]:
    """For each size of block, the functions of its backtraces as they were printed."""
    log = folder / "board.log"
    log.write_bytes(printed)
    symbols = open_symbolizer(elf)
    found: dict[int, set[tuple[str | None, ...]]] = {}
    for each in observe(log, ReadOptions()):
        if isinstance(each, Block):
            names = tuple(symbols.resolve(frame)[-1].function for frame in each.frames)
            found.setdefault(each.size_bytes, set()).add(names)
    return found


@on_cortex
@pytest.mark.parametrize("optimize", ["-O2", "-Os", "-O0", "-O1"])
def test_a_backtrace_is_the_chain_of_calls_and_nothing_else(
    firmware: Callable[..., tuple[Path, bytes]], tmp_path: Path, optimize: str
) -> None:
    """At -O0 a function keeps its stack pointer in r7, and the tables say so."""
    elf, printed = firmware("player.c", *TABLES, optimize)

    found = chains(elf, printed, tmp_path)

    assert (found[0x60], found[0x50]) == ({SOFTVOL}, {RESAMPLE}), "no stale word, without any help of the host's"
    assert found[40] == {("board_malloc", "main", "_start")}
    (in_interrupt,) = found[8]
    assert in_interrupt[:2] == ("board_malloc", "in_interrupt")
    assert set(in_interrupt[2:]) <= {"on_svc"}, "it ends where the CPU, and no call, entered"


@on_cortex
def test_code_without_tables_ends_the_chain(firmware: Callable[..., tuple[Path, bytes]], tmp_path: Path) -> None:
    """The linker writes into the table that this code cannot be unwound; here that is the agent itself."""
    elf, printed = firmware("player.c", "-DHT_EXIDX=1")

    assert chains(elf, printed, tmp_path)[0x60] == {()}, "no stack, rather than a wrong one"


@on_cortex
def test_nothing_of_the_compiler_s_unwinder_is_linked(firmware: Callable[..., tuple[Path, bytes]]) -> None:
    elf, _ = firmware("player.c", *TABLES)

    assert not re.search(rb"_Unwind_|__gnu_unwind", elf.read_bytes().replace(b"__aeabi_unwind_cpp_pr", b""))


def test_another_cpu_is_refused_with_the_way_out(board: Board, compile_for: Compile, tmp_path: Path) -> None:
    from_here = tmp_path / "a.c"
    from_here.write_text('#include "ht_exidx.h"\n')
    built = compile_for(board, "-DHT_EXIDX=1", "-c", from_here, "-o", tmp_path / "a.o")

    if board.name == "mps2":
        assert built.returncode == 0, built.stderr
    else:
        assert "HT_EXIDX reads the unwind tables of Thumb code: leave it out" in built.stderr
