"""The event stream as the targets' own compilers make it: addresses of both halves of a 32-bit space survive."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from heaptrail.wire import decode

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from conftest import Board

pytestmark = pytest.mark.firmware
HERE = Path(__file__).resolve().parent
WIRE = sorted((HERE.parents[1] / "agent" / "src").glob("ht_wire*.c"))


def test_addresses_above_the_middle_are_what_they_were(
    board: Board,
    compile_for: Callable[..., subprocess.CompletedProcess[str]],
    run: Callable[[Board, Path], str],
    tmp_path: Path,
) -> None:
    elf = tmp_path / "stream.elf"
    sources = (HERE / f"{board.name}.c", HERE / "board.c", HERE / "stream.c", *WIRE, "-lgcc")
    built = compile_for(board, "-T", HERE / f"{board.name}.ld", *sources, "-o", elf)
    assert built.returncode == 0, built.stderr

    stream = decode(bytes.fromhex(run(board, elf)))

    frames = {number: [frame.pc for frame in stack.frames] for (_, number), stack in stream.stacks.items()}
    assert frames == {1: [0x0800_0100, 0x0800_0200, 0x0800_0180], 2: [0x8000_44E6, 0xFFFF_FFF0, 0x10]}
    assert stream.events.address.tolist() == [0x2000_0010, 0x9000_0020]
