"""The agent's tables straight from an image: its own core compiled, with tables as it fills them itself."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from heaptrail.limits import DEFAULT_LIMITS
from heaptrail.ram.firmware import Firmware
from heaptrail.ram.heaps import LiveBlock
from heaptrail.ram.kernels import TaskStack
from heaptrail.ram.memory import Memory, Piece
from heaptrail.ram.origins import UNKNOWN, origins
from heaptrail.ram.tracer import TracedBlock, TracerTables, read_tracer

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Board

AGENT = Path(__file__).resolve().parents[3] / "agent"
PROGRAM = """
#include <stdio.h>
#include "ht_agent.h"
#include "ht_port.h"
uintptr_t ht_port_lock(void) { return 0; }
void ht_port_unlock(uintptr_t saved) { (void)saved; }
static const char *name = "AudioRender";
static uint32_t id = 7;
static uintptr_t stack[2];
uint32_t ht_port_thread_id(void) { return id; }
const char *ht_port_thread_name(void) { return name; }
size_t ht_port_backtrace(uintptr_t *pcs, size_t max, const void *frame, uintptr_t ret)
{
    (void)max, (void)frame, (void)ret;
    pcs[0] = stack[0];
    pcs[1] = stack[1];
    return stack[0] != 0 ? 2 : 0;
}
static void take(uintptr_t block, size_t size, uintptr_t inner, uintptr_t outer)
{
    stack[0] = inner;
    stack[1] = outer;
    ht_on_malloc((void *)block, size, size + 16);
}
extern char __data_start, _end;
int main(int count, char **words)
{
    ht_start(0, 0);
    take(0x5000, 3840, 0x401010, 0x402020);
    take(0x6000, 3840, 0x401030, 0x402020);
    take(0x7000, 24, 0, 0);
    name = "Demux";
    id = 8;
    take(0x8000, 100, 0x401010, 0x402020);
    for (uintptr_t more = 1; more < 40; more++) {
        take(0x10000 * more, 8, 0x403030, 0x404040);
    }
    ht_on_free_by((void *)0x6000, words);
    if (count > 2) {
        ht_stop();
    }
    FILE *out = fopen(words[1], "wb");
    fwrite(&__data_start, 1, (size_t)(&_end - &__data_start), out);
    fclose(out);
    printf("%p", (void *)&__data_start);
    return 0;
}
"""


def traced(folder: Path, *options: str, debug: bool = True, stopped: bool = False) -> tuple[Firmware, Memory]:
    """The agent's core in a program of this machine that allocates, and its memory afterwards."""
    source, elf, image = folder / "traced.c", folder / "traced", folder / "ram.bin"
    source.write_text(PROGRAM)
    files = sorted(
        path for path in (AGENT / "src").glob("*.c") if path.stem not in ("ht_console", "ht_dumps", "ht_build_id")
    )
    command = ["gcc", *(("-g",) if debug else ()), "-O1", "-no-pie", "-DHT_RECORDS=32", "-DHT_REDUCED_TEST=1", *options]
    words = [*command, f"-I{AGENT / 'include'}", f"-I{AGENT / 'src'}", source, *files, "-o", elf]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    run = subprocess.run([elf, image, *(["stop"] if stopped else [])], capture_output=True, text=True, check=True)
    firmware = Firmware(elf, DEFAULT_LIMITS)
    memory = Memory([Piece(int(run.stdout, 16), memoryview(image.read_bytes()))], order="<", word_bytes=8)
    return firmware, memory


def test_records_have_their_task_and_backtrace(tmp_path: Path) -> None:
    found = read_tracer(*traced(tmp_path))

    assert found is not None
    assert found.blocks[0x5000] == TracedBlock(3840, 1, "AudioRender", (0x401010, 0x402020))
    assert found.blocks[0x8000].task == "Demux"
    assert found.blocks[0x8000].frames == (0x401010, 0x402020)
    assert found.blocks[0x7000].frames == ()
    assert 0x6000 not in found.blocks, "freed"


def test_blocks_beyond_the_pool_are_said_to_be_counted_only(tmp_path: Path) -> None:
    found = read_tracer(*traced(tmp_path))

    assert found is not None
    assert len(found.blocks) <= 32
    assert any("the agent's pool was full" in text for text in found.problems)


def test_a_stopped_agent_is_said_to_be_so(tmp_path: Path) -> None:
    found = read_tracer(*traced(tmp_path, stopped=True))

    assert found is not None
    assert any("the agent was off" in text for text in found.problems) or found.blocks == {}


def test_without_debug_information_that_is_said(tmp_path: Path) -> None:
    found = read_tracer(*traced(tmp_path, debug=False))

    assert found is not None
    assert found.blocks == {}
    assert "has no debug information to read them" in found.problems[0]


def test_an_image_without_the_tables_says_so(tmp_path: Path) -> None:
    firmware, _ = traced(tmp_path)

    found = read_tracer(firmware, Memory([], order="<", word_bytes=8))

    assert found == TracerTables({}, ("the image does not hold all of the agent's tables",))


def test_random_tables_never_raise(tmp_path: Path) -> None:
    firmware, memory = traced(tmp_path)
    symbol = firmware.variable("ht")
    assert symbol is not None
    noise = os.urandom(symbol.size)

    found = read_tracer(firmware, Memory([Piece(symbol.address, memoryview(noise))], order="<", word_bytes=8))

    assert found is not None
    assert memory.read(symbol.address, 1) is not None


def test_a_firmware_without_the_agent_has_no_tables(make_board: Callable[..., Board]) -> None:
    board = make_board()
    board.variable("ht", words=4)

    assert read_tracer(board.firmware(), board.image().memory) is None


def test_a_record_counts_only_for_the_block_that_begins_there() -> None:
    record = TracedBlock(24, 3, "AudioRender", (0x401010,))
    live = [LiveBlock(0x5000, 0x5020, 48), LiveBlock(0x6000, 0x6020, 48)]

    found, strange = origins(live, (), TracerTables({0x5000: record, 0x5010: record, 0x9000: record}))

    assert found[0].frames == (0x401010,)
    assert found[0].requested_bytes == 24
    assert found[1] is UNKNOWN
    assert strange == 2


def test_what_the_allocator_keeps_names_the_task() -> None:
    """NuttX keeps the task's number, ESP-IDF its handle."""
    tasks = (
        TaskStack(name="player", control_block=0x2000_0100, state="waiting", number=3),
        TaskStack(name="idle", control_block=0x2000_0200, state="running", number=0),
    )
    live = [
        LiveBlock(0x5000, 0x5020, 48, owner=3, frames=(0x401010,)),
        LiveBlock(0x6000, 0x6020, 48, owner=0x2000_0200),
        LiveBlock(0x7000, 0x7020, 48, owner=99),
    ]

    found, _ = origins(live, tasks, None)

    assert [item.task for item in found] == ["player", "idle", "(ended task 99)"]
    assert found[0].frames == (0x401010,)
