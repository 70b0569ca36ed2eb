"""Fuzz target: any bytes as an ELF, as they are and as patches of a sound one: its facts, symbols, lines and frames."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from fuzz.harness import fuzz, patched

from heaptrail.errors import HeaptrailError
from heaptrail.limits import Limits
from heaptrail.model.observations import RawFrame
from heaptrail.symbols.debugfile import find_debug, missing_debug
from heaptrail.symbols.elf import ElfImage
from heaptrail.symbols.lines import ElfSymbolizer
from heaptrail.symbols.store import CacheStore

LIMITS = Limits(elf_section_bytes=1 << 20, inline_depth=4)
SOURCE = """
static inline int twice(int x) { return x * 2; }
__attribute__((noinline)) int run(int x) { return twice(x) + 1; }
int start(int x) { return run(x) - 3; }
"""


@cache
def sound() -> tuple[bytes, ...]:
    """Small programs with debug information; none without a compiler."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        (source := Path(folder, "a.c")).write_text(SOURCE)
        for compiler in ("gcc", "riscv64-unknown-elf-gcc", "arm-none-eabi-gcc"):
            if shutil.which(compiler) is None:
                continue
            target = Path(folder, compiler)
            options = ["-g", "-O1", "-nostdlib", "-nostartfiles", "-static", "-Wl,--entry=start"]
            subprocess.run([compiler, *options, source, "-o", target], check=True, capture_output=True)
            found.append(target.read_bytes())
    return tuple(found)


@cache
def scratch() -> Path:
    return Path(tempfile.mkdtemp(prefix="heaptrail-fuzz-"), "any.elf")


def elf_any(data: bytes) -> None:
    """Raises AssertionError where a promise is broken, and what is no HeaptrailError where something breaks."""
    programs = [data, *(patched(program, data) for program in sound()[: 1 + len(data) % 3])]
    for program in programs:
        scratch().write_bytes(program)
        try:
            look_into(scratch())
        except HeaptrailError:
            continue


def look_into(path: Path) -> None:
    image = ElfImage(path, LIMITS)
    assert image.bits in (32, 64)
    assert missing_debug(image) is None or image.debug_link is not None
    find_debug(image, LIMITS)
    first = image.executable_ranges[0][0] if image.executable_ranges else 0x1000
    symbolizer = ElfSymbolizer(image, image, store=CacheStore(None), sources=None, limits=LIMITS, extra_wrappers=())
    stack = tuple(RawFrame(first + at, kind) for at in (0, 4, 9, 1 << 40) for kind in ("call", "return"))  # type: ignore[arg-type]  # the two kinds
    for raw in stack:
        frames = symbolizer.resolve(raw)
        assert frames
        assert len(frames) <= LIMITS.inline_depth
    symbolizer.resolve_stack(symbolizer.callers(stack).kept)
    symbolizer.fit(stack)
    assert image.identity


if __name__ == "__main__":
    fuzz(elf_any)
