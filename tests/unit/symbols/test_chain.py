"""Backtraces against firmware of three CPUs: what the disassembler says of calls, and what stays of a stack scan."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heaptrail.model.observations import RawFrame
from heaptrail.symbols.branches import branch_ending_at, branches_in
from heaptrail.symbols.elf import open_image
from heaptrail.symbols.lines import ElfSymbolizer, open_symbolizer

if TYPE_CHECKING:
    from pathlib import Path

# `render` reaches the allocator three ways: by calls alone, by a wrapper that ends with a jump, by a pointer.
FIRMWARE = r"""
#define FRAME __attribute__((noinline, noclone))
volatile unsigned after;
void *volatile heap;

FRAME void *hook(unsigned bytes) { after += bytes; return heap; }
FRAME void *allocate(unsigned bytes) { void *block = hook(bytes); after++; return block; }
FRAME void *zeroed(unsigned bytes) { void *block = allocate(bytes); after++; return block; }
FRAME void *softvol(int n) { void *block = zeroed(0x60 + n); after++; return block; }
FRAME void *resample(int n) { void *block = zeroed(0x50 + n); after++; return block; }
FRAME void *track(int n) { void *block = n ? softvol(n) : resample(n); after++; return block; }

FRAME void *padded(unsigned bytes) { after++; return allocate(bytes + 8); }
FRAME void *counted(unsigned bytes) { after += bytes; return padded(bytes + 1); }
FRAME void *demux(int n) { void *block = counted(n); after++; return block; }

FRAME void *either(unsigned bytes) { after++; return bytes & 1 ? padded(bytes) : counted(bytes); }
FRAME void *guess(int n) { void *block = either(n); after++; return block; }

FRAME void *plugin(int n) { void *block = zeroed(n); after++; return block; }
void *(*volatile update)(int) = plugin;
FRAME void *by_pointer(int n) { void *block = update(n); after++; return block; }

FRAME void *render(int n) { void *block = track(n); block = demux(n); block = by_pointer(n); block = guess(n);
                            after++; return block; }
FRAME void task(void) { for (;;) { heap = render(after); after++; } }
FRAME void on_tick(void) { heap = allocate(1); after++; }
__attribute__((used, section(".isr_vector"))) void (*const vectors[2])(void) = {0, on_tick};
void (*volatile entry)(void) = task;
int main(void) { entry(); after++; return 0; }
"""
ALLOCATED = (("allocate", "hook"), ("zeroed", "allocate"))
BY_CALLS = (*ALLOCATED, ("softvol", "zeroed"), ("track", "softvol"), ("render", "track"), ("task", "render"))
BY_POINTER = (*ALLOCATED, ("plugin", "zeroed"), ("by_pointer", "*"), ("render", "by_pointer"), ("task", "render"))
BY_JUMPS = (("allocate", "hook"), ("demux", "counted"), ("render", "demux"), ("task", "render"))
AMBIGUOUS = (("allocate", "hook"), ("guess", "either"), ("render", "guess"), ("task", "render"))

CPUS = {
    "arm": ("arm-none-eabi-", ("-mcpu=cortex-m3", "-mthumb")),
    "arm-dwarf-4": ("arm-none-eabi-", ("-mcpu=cortex-m33", "-mthumb", "-gdwarf-4")),
    "arm-a32": ("arm-none-eabi-", ("-mcpu=cortex-a7", "-marm")),
    "riscv32": ("riscv64-unknown-elf-", ("-march=rv32imac", "-mabi=ilp32")),
    "riscv64": ("riscv64-unknown-elf-", ("-march=rv64imac", "-mabi=lp64", "-mcmodel=medany")),
}
_CALL = re.compile(r"^\s*([0-9a-f]+):\s+(?:[0-9a-f]+ )+\s*(bl|blx|jal|jalr|c\.jal|c\.jalr)\s+(.*)$")


class Built(NamedTuple):
    symbols: ElfSymbolizer
    elf: Path
    calls: dict[tuple[str, str], int]

    def stack(self, *calls: tuple[str, str]) -> tuple[RawFrame, ...]:
        return tuple(RawFrame(self.calls[call], "call") for call in calls)

    def names(self, stack: tuple[RawFrame, ...]) -> list[str | None]:
        return [frame.function for frame in self.symbols.resolve_stack(stack)]


def built(cpu: str, folder: Path, *flags: str) -> Built:
    prefix, options = CPUS[cpu]
    if shutil.which(f"{prefix}gcc") is None:
        text = f"needs {prefix}gcc (apt-get install gcc-arm-none-eabi gcc-riscv64-unknown-elf)"
        if os.environ.get("HEAPTRAIL_NO_SKIP"):
            pytest.fail(text)
        pytest.skip(text)
    source, elf = folder / "firmware.c", folder / f"{cpu}.elf"
    source.write_text(FIRMWARE)
    words = (*options, *(flags or ("-O2", "-g")), "-ffreestanding", "-nostdlib", "-Wl,-e,main")
    subprocess.run([f"{prefix}gcc", *words, source, "-o", elf], check=True, capture_output=True)
    listing = subprocess.run([f"{prefix}objdump", "-d", elf], check=True, capture_output=True, text=True).stdout
    calls: dict[tuple[str, str], int] = {}
    function = ""
    for line in listing.splitlines():
        if head := re.match(r"[0-9a-f]+ <(\w+)>:", line):
            function = head[1]
        elif (call := _CALL.match(line)) and not call[3].startswith("zero,"):
            target = re.search(r"<(\w+)>", call[3])
            calls[function, target[1] if target else "*"] = int(call[1], 16)
    return Built(open_symbolizer(elf, cache_dir=folder / "cache"), elf, calls)


@pytest.fixture(scope="module", params=[cpu for cpu in CPUS if cpu != "arm-a32"])
def firmware(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    return built(request.param, tmp_path_factory.mktemp("chain"))


@pytest.mark.parametrize("chain", [BY_CALLS, BY_POINTER, BY_JUMPS, AMBIGUOUS], ids=["calls", "pointer", "jumps", "two"])
def test_a_true_chain_stays_whole(firmware: Built, chain: tuple[tuple[str, str], ...]) -> None:
    stack = firmware.stack(*chain)

    assert firmware.symbols.callers(stack) == (stack, ())


def test_what_an_earlier_call_left_in_an_array_is_left_out(firmware: Built) -> None:
    """As the scan found it on Cortex-M3: `resample`'s frame holds what `softvol` left there."""
    true = firmware.stack(*ALLOCATED, ("resample", "zeroed"), ("track", "resample"), ("render", "track"))
    stale = firmware.stack(("zeroed", "allocate"), ("softvol", "zeroed"))

    checked = firmware.symbols.callers((*true[:3], *stale, *true[3:]))

    assert checked == (true, stale)


def test_a_stale_call_through_a_pointer_does_not_part_a_call_from_its_function(firmware: Built) -> None:
    true = firmware.stack(*BY_CALLS)
    (stale,) = firmware.stack(("by_pointer", "*"))

    checked = firmware.symbols.callers((*true[:4], stale, *true[4:]))

    if firmware.symbols.image.arch == "arm":
        assert checked == (true, (stale,))
    else:  # a chain of frame pointers has no stale words, so what may be a call is one
        assert checked.stale == ()


def test_the_caller_through_a_pointer_is_kept_among_stale_calls(firmware: Built) -> None:
    true = firmware.stack(*BY_POINTER)
    stale = firmware.stack(("track", "softvol"), ("render", "track"))
    checked = firmware.symbols.callers((*true[:3], *stale, *true[3:]))

    if firmware.symbols.image.arch == "arm":
        assert checked == (true, stale)
    else:
        assert checked.stale == ()


def test_behind_a_break_that_nothing_joins_all_frames_stay(firmware: Built) -> None:
    """An interrupt: nobody calls its handler, and what it interrupted is no caller of it, but it was there."""
    stack = firmware.stack(("allocate", "hook"), ("on_tick", "allocate"), ("track", "softvol"), ("render", "track"))

    assert firmware.symbols.callers(stack).stale == ()


def test_behind_a_function_that_only_calls_reach_the_rest_of_a_scan_goes(firmware: Built) -> None:
    """The scan's depth cut the true caller off; what stands in its place is stale."""
    true = firmware.stack(*ALLOCATED, ("softvol", "zeroed"))
    stale = firmware.stack(("demux", "counted"), ("guess", "either"))

    checked = firmware.symbols.callers((*true, *stale))

    assert checked == ((true, stale) if firmware.symbols.image.arch == "arm" else ((*true, *stale), ()))


def test_frames_that_the_elf_does_not_know_stay(firmware: Built) -> None:
    true = firmware.stack(*BY_CALLS)
    foreign = RawFrame(0x6000_0000, "call")

    assert firmware.symbols.callers((*true[:2], foreign, *true[2:])).stale == ()


def test_return_addresses_are_checked_like_call_addresses(firmware: Built) -> None:
    image = open_image(firmware.elf)

    def returned(frame: RawFrame) -> RawFrame:
        code = {step: image.code_before(frame.pc + step, 8) for step in (4, 2)}
        ends = [
            frame.pc + step for step, each in code.items() if each and branch_starts(each, frame.pc, step, image.arch)
        ]
        return RawFrame(ends[0] | (image.arch == "arm"), "return")

    true = tuple(returned(frame) for frame in firmware.stack(*BY_CALLS))
    (stale,) = (returned(frame) for frame in firmware.stack(("resample", "zeroed")))

    assert firmware.symbols.callers((*true[:3], stale, *true[3:])) == (true, (stale,))


def branch_starts(code: bytes, start: int, step: int, arch: str) -> bool:
    branch = branch_ending_at(code, start + step, arch)
    return branch is not None and branch.start == start


@settings(deadline=None)
@given(data=st.data())
def test_a_chain_of_calls_survives_any_stale_frames(firmware: Built, data: st.DataObject) -> None:
    """On ARM even those that might have been callers of an inner frame, but lead nowhere."""
    true = firmware.stack(*BY_CALLS)
    scanned = firmware.symbols.image.arch == "arm"
    strangers = firmware.stack(("demux", "counted"), ("on_tick", "allocate"), ("resample", "zeroed"))
    stack = [true[0]]
    for place, frame in enumerate(true[1:]):
        if scanned or place >= 3:
            stack += data.draw(st.lists(st.sampled_from(strangers), max_size=3))
        stack.append(frame)

    checked = firmware.symbols.callers(tuple(stack))

    assert checked.kept == true
    assert len(checked.kept) + len(checked.stale) == len(stack)


def test_functions_that_end_with_a_jump_are_put_back_and_marked(firmware: Built) -> None:
    stack = firmware.stack(*BY_JUMPS)

    frames = firmware.symbols.resolve_stack(stack)

    assert [(frame.function, frame.inferred) for frame in frames] == [
        *(
            ("allocate", False),
            ("padded", True),
            ("counted", True),
            ("demux", False),
            ("render", False),
            ("task", False),
        )
    ]
    assert [frame.pc for frame in frames if not frame.inferred] == [frame.pc for frame in stack]
    assert "return allocate(bytes + 8)" in line_of(frames[1].line)
    assert frames[1].note is not None
    assert "tail call" in frames[1].note


def test_where_two_ways_of_jumps_lead_there_none_is_put_back(firmware: Built) -> None:
    assert firmware.names(firmware.stack(*AMBIGUOUS)) == ["allocate", "guess", "render", "task"]


def test_without_debug_information_nothing_is_put_back_and_stale_frames_still_go(tmp_path: Path) -> None:
    plain = built("arm", tmp_path, "-O2")
    true = plain.stack(*BY_CALLS)
    (stale,) = plain.stack(("resample", "zeroed"))

    assert plain.names(plain.stack(*BY_JUMPS)) == ["allocate", "demux", "render", "task"]
    assert plain.symbols.callers((*true[:3], stale, *true[3:])) == (true, (stale,))


def test_in_arm_code_nothing_is_left_out(tmp_path: Path) -> None:
    """Cortex-A and R run it; its calls would be read as something else."""
    a32 = built("arm-a32", tmp_path)
    stack = a32.stack(*BY_CALLS[:3], ("resample", "zeroed"), *BY_CALLS[3:])

    assert a32.symbols.callers(stack) == (stack, ())


def test_without_symbols_nothing_is_left_out(tmp_path: Path) -> None:
    full = built("arm", tmp_path)
    bare = tmp_path / "bare.elf"
    subprocess.run(["arm-none-eabi-strip", full.elf, "-o", bare], check=True)
    stack = full.stack(*BY_CALLS[:3], ("resample", "zeroed"), *BY_CALLS[3:])

    assert open_symbolizer(bare, cache_dir=tmp_path / "cache").callers(stack) == (stack, ())


def test_tail_calls_are_put_back_on_a_cpu_whose_code_is_not_read_whole(tmp_path: Path) -> None:
    """x86-64: chains are not checked there, but DWARF's call sites are the same."""
    source, elf = tmp_path / "firmware.c", tmp_path / "host"
    source.write_text(FIRMWARE)
    subprocess.run(["gcc", "-O2", "-g", "-no-pie", "-fcf-protection=none", source, "-o", elf], check=True)
    listing = subprocess.run(["objdump", "-d", elf], check=True, capture_output=True, text=True).stdout
    ends: dict[str, int] = {}
    name = ""
    for line in listing.splitlines():
        if head := re.match(r"[0-9a-f]+ <(\w+)>:", line):
            name = head[1]
        elif (call := re.match(r"\s*([0-9a-f]+):\s+((?:[0-9a-f]{2} )+)\s*call ", line)) and name not in ends:
            ends[name] = int(call[1], 16) + len(call[2].split())
    symbols = open_symbolizer(elf, cache_dir=tmp_path / "cache")
    stack = (RawFrame(ends["allocate"] - 1, "call"), RawFrame(ends["demux"], "return"))

    shown = [(frame.function, frame.inferred) for frame in symbols.resolve_stack(stack)]

    assert shown == [("allocate", False), ("padded", True), ("counted", True), ("demux", False)]
    assert symbols.callers(stack) == (stack, ())


@given(code=st.binary(min_size=0, max_size=64), arch=st.sampled_from(["arm", "riscv32", "riscv64", "x86_64", "mips"]))
def test_any_bytes_are_read_as_code_without_an_error(code: bytes, arch: str) -> None:
    branches_in(code, 0x1000, arch)
    branch = branch_ending_at(code[:8], 0x1000, arch)

    assert branch is None or branch.start < 0x1000


def line_of(number: int | None) -> str:
    assert number is not None
    return FIRMWARE.splitlines()[number - 1]
