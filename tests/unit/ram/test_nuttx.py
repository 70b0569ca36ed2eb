"""NuttX's heap in its three layouts and its tasks, whole and broken; structs as each release declares them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from heaptrail.errors import EvidenceError
from heaptrail.ram.heaps.nuttx import NuttxHeap
from heaptrail.ram.kernels.nuttx import NuttxKernel
from heaptrail.ram.memory import Registers
from heaptrail.ram.places import listing, why
from heaptrail.ram.reach import REACHABLE, UNREACHABLE
from heaptrail.ram.survey import Question, survey

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Board, Program

    from heaptrail.ram.heaps import HeapWalk

    MakeBoard = Callable[..., Board]
    MakeProgram = Callable[..., Program]

SOURCE = """
#include <stddef.h>
#include <stdint.h>
typedef NUMBER mmsize_t;
struct mm_allocnode_s { HEAD mmsize_t FIRST; mmsize_t SECOND; TAIL };
struct mm_freenode_s { HEAD mmsize_t FIRST; mmsize_t SECOND; TAIL struct mm_freenode_s *flink, *blink; };
struct mm_heap_s { int mm_lock; size_t mm_heapsize; struct mm_allocnode_s *mm_heapstart[1], *mm_heapend[1];
    struct mm_freenode_s mm_nodelist[3]; POOL };
struct mm_allocnode_s guard;
struct mm_heap_s THE_HEAP;
uint64_t memory[512], roots[8];
"""
POINTER = "the_heap, *g_mmheap"


class Release(NamedTuple):
    """How one release lays out a chunk."""

    number: str
    first: str
    second: str
    flags: str
    heap: str = POINTER
    head: str = ""
    tail: str = ""

    def source(self, *, pool: str = "") -> str:
        text = SOURCE.replace("NUMBER", self.number).replace("FIRST", self.first).replace("SECOND", self.second)
        text = text.replace("HEAD", self.head).replace("TAIL", self.tail).replace("POOL", pool)
        return text.replace("THE_HEAP", self.heap)


OLD = Release("uint32_t", "size", "preceding", "top", heap="g_mmheap")
SMALL = Release("uint16_t", "size", "preceding", "top", heap="g_mmheap")
MIDDLE = Release("uint32_t", "size", "preceding", "bit", head="int pid; void *backtrace[4];")
NEW = Release("size_t", "preceding", "size", "size")
TRACED = Release("size_t", "preceding", "size", "size", tail="int pid; unsigned long seqno; void *backtrace[4];")
RELEASES = [
    pytest.param(OLD, id="to 2021"),
    pytest.param(SMALL, id="to 2021, small"),
    pytest.param(MIDDLE, id="2022, traced"),
    pytest.param(NEW, id="today"),
    pytest.param(TRACED, id="today, traced"),
]


class MmHeap:
    """A region written chunk by chunk: `alloc` in address order, `free`, then `finish`."""

    def __init__(self, program: Program, release: Release, *, size: int = 2048) -> None:
        self.program, self.release = program, release
        layouts = program.firmware.structs(("mm_allocnode_s", "mm_freenode_s", "mm_heap_s"), ())
        self.node, self.free_node, self.heap = (layouts[n] for n in ("mm_allocnode_s", "mm_freenode_s", "mm_heap_s"))
        self.header = self.node.size
        self.start, self.end = program.at("memory"), program.at("memory") + size - self.header
        self.at = self.start + self.header
        self.chunks: list[tuple[int, int, bool]] = []

    def alloc(self, count: int, *words: int) -> int:
        size = -(-(count + self.header) // 16) * 16
        payload = self.at + self.header
        self.chunks.append((self.at, size, True))
        self.at += size
        if words:
            self.program.poke(payload, *words)
        return payload

    def free(self, payload: int) -> None:
        at = payload - self.header
        self.chunks = [(first, size, used and first != at) for first, size, used in self.chunks]

    def finish(self) -> None:
        """Write headers, guards, the list of free chunks and the heap's own structure."""
        rest = (self.at, self.end - self.at, False)
        before, before_free = self.header, False
        guards = ((self.start, self.header, True), *self.chunks, rest, (self.end, self.header, True))
        for at, size, used in guards:
            if at != self.start:
                self.write(at, size, used=used, preceding=before, before_free=before_free)
            else:
                self.write(at, size, used=True, preceding=0, before_free=False)
            before, before_free = size, not used
        heap = self.program.at("g_mmheap" if self.release.heap == "g_mmheap" else "the_heap")
        for name, value in (("mm_heapstart", self.start), ("mm_heapend", self.end)):
            self.program.poke(heap + self.heap.members[name][0], value)
        if self.release.heap != "g_mmheap":
            self.program.poke(self.program.at("g_mmheap"), heap)
        link = self.free_node.members["flink"][0]
        heads = [heap + self.heap.members["mm_nodelist"][0] + index * self.free_node.size for index in range(3)]
        free = [at for at, _, used in (*self.chunks, rest) if not used]
        chain = [heads[0], *free, *heads[1:]]
        for at, following in zip(chain, [*chain[1:], 0], strict=True):
            self.program.poke(at + link, following)

    def write(self, at: int, size: int, *, used: bool, preceding: int, before_free: bool) -> None:
        """A header in this release's layout."""
        size_at, width = self.node.members["size"]
        if self.release.flags == "size":
            size |= used | before_free << 1
            if before_free:
                self.program.poke(at + self.node.members["preceding"][0], preceding, size=width)
        else:
            flag = 1 if self.release.flags == "bit" else 1 << (8 * width - 1)
            self.program.poke(at + self.node.members["preceding"][0], preceding | (flag if used else 0), size=width)
        self.program.poke(at + size_at, size, size=width)


def walk(program: Program) -> HeapWalk:
    layout, memory = NuttxHeap(), program.image().memory
    return layout.walk(program.firmware, memory, layout.place(program.firmware, memory, None))


@pytest.mark.parametrize("word", [4, 8])
@pytest.mark.parametrize("release", RELEASES)
def test_chunks_are_walked_in_every_layout(make_program: MakeProgram, release: Release, word: int) -> None:
    program = make_program(release.source(), word=word, file="mm_malloc.c")
    heap = MmHeap(program, release)
    kept = [heap.alloc(count) for count in (24, 1, 100, 40)]
    heap.free(kept.pop(1))
    heap.finish()

    found = walk(program)

    assert [block.address for block in found.live] == kept
    assert found.corrupt == ()
    assert len(found.free) == 2
    assert found.header_bytes == heap.header


def test_the_present_layouts_last_word_is_payload_and_no_target(make_program: MakeProgram) -> None:
    """`preceding` of the next chunk belongs to the payload, and the allocator's own links lead there."""
    program = make_program(NEW.source(), file="mm_malloc.c")
    heap = MmHeap(program, NEW)
    held_from_tail, holder, lost = heap.alloc(24), heap.alloc(40), heap.alloc(24)
    heap.finish()
    found = walk(program)
    tail = found.live[1].end - 8
    program.poke(tail, held_from_tail)
    program.poke(program.at("roots"), holder, found.live[2].end - 8)

    seen = survey(program.image(), program.firmware, Question())
    states = {block.address: state for block, state in zip(seen.heap.live, seen.reach.states, strict=True)}

    assert states == {held_from_tail: REACHABLE, holder: REACHABLE, lost: UNREACHABLE}


def test_who_allocated_a_chunk_is_read_where_the_heap_keeps_it(make_program: MakeProgram) -> None:
    program = make_program(TRACED.source(), file="mm_malloc.c")
    heap = MmHeap(program, TRACED)
    block = heap.alloc(24)
    heap.finish()
    at = block - heap.header
    program.poke(at + heap.node.members["pid"][0], 7, size=4)
    program.poke(at + heap.node.members["backtrace"][0], 0x401010, 0x401020, 0)

    (found,) = walk(program).live
    seen = survey(program.image(), program.firmware, Question())

    assert found.owner == 7
    assert found.frames == (0x401010, 0x401020)
    assert why(seen, program.firmware, block)[2:5] == [
        "  allocated, innermost call first",
        "    0x00401010  no symbol",
        "    0x00401020  no symbol",
    ]


def test_an_overwritten_chunk_is_named_and_the_walk_goes_on_from_the_free_list(make_program: MakeProgram) -> None:
    program = make_program(NEW.source(), file="mm_malloc.c")
    heap = MmHeap(program, NEW)
    blocks = [heap.alloc(24) for _ in range(6)]
    heap.free(blocks[3])
    heap.finish()
    program.poke(blocks[1] - 8, 0x4141_4141_4141_4140)

    found = walk(program)

    assert [block.address for block in found.live] == [*blocks[:1], *blocks[4:]]
    assert "the region ends at" in found.corrupt[0].text
    assert found.untrusted == ((blocks[1] - 16, blocks[3] - 16),)


def test_two_chunks_that_disagree_are_named_and_the_walk_comes_back_from_the_end(make_program: MakeProgram) -> None:
    program = make_program(OLD.source(), file="mm_malloc.c")
    heap = MmHeap(program, OLD)
    blocks = [heap.alloc(24) for _ in range(5)]
    heap.finish()
    program.poke(program.at("g_mmheap") + heap.heap.members["mm_nodelist"][0] + 8, 0)  # no list helps
    program.poke(blocks[2] - 8, 16, size=4)

    found = walk(program)

    assert [block.address for block in found.live] == [*blocks[:2], *blocks[3:]]
    assert "the one behind it says" in found.corrupt[0].text


def test_memory_pools_are_said_to_hide_blocks(make_program: MakeProgram) -> None:
    program = make_program(NEW.source(pool="void *mm_mpool;"), file="mm_malloc.c")
    heap = MmHeap(program, NEW)
    heap.alloc(24)
    heap.finish()
    program.poke(program.at("the_heap") + heap.heap.members["mm_mpool"][0], program.at("roots"))

    assert "CONFIG_MM_HEAP_MEMPOOL" in walk(program).notes[0]


def test_a_cycle_in_the_free_list_ends(make_program: MakeProgram) -> None:
    program = make_program(NEW.source(), file="mm_malloc.c")
    heap = MmHeap(program, NEW)
    first = heap.alloc(24)
    heap.alloc(24)
    heap.free(first)
    heap.finish()
    program.poke(first, first - heap.header)

    assert len(walk(program).live) == 1


def test_without_debug_information_the_heap_is_refused(make_board: MakeBoard) -> None:
    board = make_board()
    board.variable("g_mmheap", 0x2000_0100)

    with pytest.raises(EvidenceError, match="mm_allocnode_s") as refused:
        NuttxHeap().place(board.firmware(), board.image().memory, None)

    assert "debug information" in refused.value.try_this


def test_a_heap_that_was_never_initialised_is_refused(make_program: MakeProgram) -> None:
    program = make_program(NEW.source(), file="mm_malloc.c")

    with pytest.raises(EvidenceError, match="lead to no region"):
        walk(program)


TASKS = """
struct xcptcontext { REGISTERS };
struct tcb_s { struct tcb_s *flink; int pid; uint8_t sched_priority; uint8_t task_state; size_t adj_stack_size;
    void *stack_alloc_ptr, *stack_base_ptr; struct xcptcontext xcp; char name[16]; };
struct tcb_s player, idle, *table[4], **g_pidhash, *g_running_tasks[1];
volatile int g_npidhash;
uint64_t idle_stack[32];
"""


@pytest.mark.parametrize("registers", ["void *regs;", "size_t regs[8];"], ids=["on the stack", "in the control block"])
@pytest.mark.parametrize("word", [4, 8])
def test_tasks_and_the_live_part_of_their_stacks(make_program: MakeProgram, registers: str, word: int) -> None:
    source = NEW.source() + TASKS.replace("REGISTERS", registers)
    program = make_program(source, word=word, file="nx_start.c")
    heap = MmHeap(program, NEW)
    stack, dead, live, local = heap.alloc(256), heap.alloc(24), heap.alloc(24), heap.alloc(24)
    heap.finish()
    layouts = program.firmware.structs(("tcb_s", "xcptcontext"), ())
    task = layouts["tcb_s"].members
    for name, number, first, base, size in (
        ("player", 3, stack, stack + 32, 224),
        ("idle", 0, program.at("idle_stack"), program.at("idle_stack"), 256),
    ):
        at = program.at(name)
        program.poke(at + task["pid"][0], number, size=4)
        program.poke(at + task["sched_priority"][0], 100, size=1)
        for member, value in (("adj_stack_size", size), ("stack_alloc_ptr", first), ("stack_base_ptr", base)):
            program.poke(at + task[member][0], value)
        name_at = at + task["name"][0] - program.first
        program.ram[name_at : name_at + len(name)] = name.encode()
    program.poke(program.at("player") + task["xcp"][0], stack + 128)
    program.poke(program.at("table"), program.at("idle"), 0, 0, program.at("player"))
    program.poke(program.at("g_pidhash"), program.at("table"))
    program.poke(program.at("g_npidhash"), 4, size=4)
    program.poke(program.at("g_running_tasks"), program.at("idle"))
    program.poke(program.at("roots"), stack)
    program.poke(stack, local)  # the task's local storage lies below its stack
    program.poke(stack + 64, dead)
    program.poke(stack + 192, live)
    image = program.image(registers=(Registers("CPU 0", (0,), program.at("idle_stack") + 64),))

    found = survey(image, program.firmware, Question())
    states = {block.address: state for block, state in zip(found.heap.live, found.reach.states, strict=True)}

    assert listing(found, program.firmware, (UNREACHABLE,))[-1].startswith("1 block")
    assert [(item.name, item.number, item.state) for item in found.tasks] == [
        ("idle", 0, "running"),
        ("player", 3, "waiting"),
    ]
    assert states == {stack: REACHABLE, dead: UNREACHABLE, live: REACHABLE, local: REACHABLE}


def test_a_table_that_leads_out_of_the_image_is_named(make_program: MakeProgram) -> None:
    program = make_program(NEW.source() + TASKS.replace("REGISTERS", "void *regs;"), file="nx_start.c")
    program.poke(program.at("table"), 0x1000)
    program.poke(program.at("g_pidhash"), program.at("table"))
    program.poke(program.at("g_npidhash"), 4, size=4)

    found = NuttxKernel().tasks(program.firmware, program.image().memory)

    assert found.tasks == ()
    assert "not in the image" in found.problems[0]
