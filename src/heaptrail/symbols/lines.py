"""Raw frames to functions and lines: the `Symbolizer` of an ELF.

The symcache answers (`symcache`), the line and symbol tables fill in where it is silent (`linetable`, `symtab`), and
each frame says in its `note` when its line was found another way, or why there is none.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from heaptrail.errors import EvidenceError
from heaptrail.limits import DEFAULT_LIMITS, Limits
from heaptrail.model.report import Frame
from heaptrail.symbols.callsite import OTHER, RULES, call_address, clean_address
from heaptrail.symbols.debugfile import find_debug, missing_debug
from heaptrail.symbols.demangle import demangle
from heaptrail.symbols.elf import ElfImage, open_image
from heaptrail.symbols.excerpts import SourceFiles
from heaptrail.symbols.fit import ImageFit, follows_call, image_fit
from heaptrail.symbols.linetable import LineRow, row_at
from heaptrail.symbols.store import CacheStore, cache_folder
from heaptrail.symbols.symcache import AddressTable, Location, address_table, cache_name
from heaptrail.symbols.wrappers import plain_name, wrapper_kind
from heaptrail.units import format_address

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from heaptrail.model.observations import RawFrame
    from heaptrail.model.report import ImageInfo, SourceExcerpt
    from heaptrail.symbols import Callers
    from heaptrail.symbols.chain import Chains

_KEPT_FRAMES = 1 << 18  # distinct frames of a real log are thousands; a log of noise must not fill memory

NOTE_LINE_TABLE = "line from the ELF's line table; the debug information names no function here"
NOTE_NO_LINE = "the ELF has no line for this code"
NOTE_NO_DEBUG = "the ELF was built without -g: function from its symbol table"
NOTE_NOTHING = "the ELF names no function here"
NOTE_INFERRED = "put back: this function ends by jumping on (a tail call), so it left no frame"
NOTE_ENTRY = "the first byte of a function: put there by hand as the end of the chain, not a call's return"


class ElfSymbolizer:
    """Resolves raw frames against one ELF; satisfies `heaptrail.symbols.Symbolizer`. Made by `open_symbolizer`.

    Attributes:
        remarks: Sentences about the ELF that a reader of the report must know, such as debug information that could
            not be read.
    """

    def __init__(
        self,
        elf: ElfImage,
        debug: ElfImage,
        *,
        store: CacheStore,
        sources: SourceFiles | None,
        limits: Limits,
        extra_wrappers: tuple[str, ...],
    ) -> None:
        self._elf = elf
        self._debug = debug
        self._store = store
        self._sources = sources
        self._limits = limits
        self._extra_wrappers = extra_wrappers
        self._table: AddressTable = address_table(debug, store)
        self._region = elf.executable_ranges[0][0] if elf.executable_ranges else 0x4000_0000
        self._lowered_by = RULES.get(elf.arch, OTHER).lower_by
        self._frames: dict[RawFrame, tuple[Frame, ...]] = {}
        self.remarks = self._remarks()

    @property
    def image(self) -> ImageInfo:
        """The ELF behind it; `debug_info` counts a separate debug file."""
        return msgspec.structs.replace(self._elf.info, debug_info=self._debug.debug_info)

    def resolve(self, raw: RawFrame) -> tuple[Frame, ...]:
        """The functions at a raw frame, innermost inlined one first; always at least one."""
        frames = self._frames.get(raw)
        if frames is None:
            frames = self._resolve(raw)
            if len(self._frames) < _KEPT_FRAMES:
                self._frames[raw] = frames
        return frames

    def covers(self, raw: RawFrame) -> bool:
        """Whether a frame's address, or that of the call in front of it, lies in this ELF's code."""
        pc = clean_address(raw.pc, self._elf.arch, region=self._region)
        return self._elf.is_executable(pc) or (raw.kind == "return" and self._elf.is_executable(pc - 1))

    def callers(self, stack: tuple[RawFrame, ...]) -> Callers:
        """A backtrace without the frames that are certainly no callers (see `heaptrail.symbols.chain`)."""
        return self._chains.check(stack)

    def resolve_stack(self, stack: tuple[RawFrame, ...]) -> tuple[Frame, ...]:
        """The functions of a whole backtrace; those that tail calls left out are put back and marked `inferred`."""
        found: list[Frame] = []
        for index, raw in enumerate(stack):
            found += self.resolve(raw)
            if index + 1 < len(stack):
                for jump in self._chains.between(raw, stack[index + 1]):
                    frames = self.resolve(jump)
                    found += [msgspec.structs.replace(each, inferred=True, note=NOTE_INFERRED) for each in frames]
        return tuple(found)

    def excerpt(self, file: str, line: int) -> SourceExcerpt | None:
        """Source lines around `line`, where the file is here or a source map leads to it."""
        return self._sources.excerpt(file, line) if self._sources is not None else None

    def fit(self, frames: Iterable[RawFrame]) -> ImageFit:
        """How well the ELF fits the addresses of a capture: data only, the judgement is the diagnosis'."""
        return image_fit(self._elf, frames, region=self._region)

    def _remarks(self) -> tuple[str, ...]:
        remarks = []
        if self._table.failure is not None:
            remarks.append(f"{self._debug.name}: its debug information cannot be read ({self._table.failure})")
        elif not self._debug.debug_info and (missing := missing_debug(self._elf)) is not None:
            remarks.append(missing)
        elif not self._debug.debug_info:
            remarks.append(f"{self._debug.name} has no debug information (build with -g): functions without lines")
        return tuple(remarks)

    def _resolve(self, raw: RawFrame) -> tuple[Frame, ...]:
        arch = self._elf.arch
        pc = clean_address(raw.pc, arch, region=self._region)
        address = call_address(
            raw.pc,
            raw.kind,
            arch,
            is_entry=self._is_entry,
            follows_call=self._follows_call,
            region=self._region,
        )
        if not self._elf.is_executable(address):
            if not self._elf.is_executable(pc):
                return (self._outside(raw, pc),)
            address = pc
        frames = self._known(raw, address)
        if raw.kind == "return" and address == pc:
            frames = (*frames[:-1], msgspec.structs.replace(frames[-1], note=NOTE_ENTRY))
        return frames

    def _outside(self, raw: RawFrame, pc: int) -> Frame:
        section = self._elf.nearest_section(pc)
        where = f"; the nearest section is {section}" if section else ""
        note = f"{format_address(pc)} is not in the code of {self._elf.name}{where}"
        return Frame(pc=raw.pc, kind=raw.kind, module=section, note=note)

    def _known(self, raw: RawFrame, address: int) -> tuple[Frame, ...]:
        """The frames at an address that lies in code."""
        found = self._table.lookup(address)
        note = None
        if not found or not found[0].line:
            found, note = self._fill_in(found, address)
        depth = self._limits.inline_depth
        if len(found) > depth:
            note = f"{len(found) - depth} inlined calls are left out"
            found = [*found[: depth - 1], found[-1]]
        last = len(found) - 1
        return tuple(
            self._frame(raw, location, inlined=index < last, note=note if index == 0 else None)
            for index, location in enumerate(found)
        )

    def _fill_in(self, found: list[Location], address: int) -> tuple[list[Location], str | None]:
        """What the line and symbol tables know where the symcache has no line, and a note that says so."""
        inner = found[0] if found else None
        function = inner.function if inner else None
        if function is None:
            symbol = self._elf.symbols.at(address) or self._debug.symbols.at(address)
            function = symbol.name if symbol else None
        row = row_at(self._rows, address)
        file, line = inner.file if inner else None, 0
        if row is not None:
            file, line, note = row.file, row.line, NOTE_LINE_TABLE
        elif function is None:
            note = NOTE_NOTHING
        else:
            note = NOTE_NO_LINE if self._debug.debug_line else NOTE_NO_DEBUG
        return [Location(function, file, line, inner.start if inner else address), *found[1:]], note

    def _frame(self, raw: RawFrame, location: Location, *, inlined: bool, note: str | None) -> Frame:
        function = None if location.function is None else plain_name(demangle(location.function))
        mangled_kind = wrapper_kind(location.function, self._extra_wrappers)
        return Frame(
            pc=raw.pc,
            kind=raw.kind,
            function=function,
            file=location.file,
            line=location.line or None,
            inlined=inlined,
            module=self._elf.name,
            wrapper=mangled_kind is not None or wrapper_kind(function, self._extra_wrappers) is not None,
            note=note,
        )

    @cached_property
    def _chains(self) -> Chains:
        from heaptrail.symbols.chain import Chains  # noqa: PLC0415 - numpy, which only whole backtraces need

        return Chains(self._elf, self._debug, region=self._region)

    @cached_property
    def _rows(self) -> tuple[LineRow, ...]:
        """Rows with a line where the symcache has none; read from DWARF once and kept beside the symcache."""
        if not self._debug.debug_line or self._table.failure is not None:
            return ()
        name = cache_name(self._debug) + "-lines"
        kept = self._store.load(name)
        if kept is not None:
            try:
                return msgspec.msgpack.decode(kept, type=tuple[LineRow, ...])
            except msgspec.DecodeError:
                pass  # another version's rows; they are read anew
        rows = tuple(row for row in self._debug.line_rows(self._silent) if row.line and self._silent(row.address))
        self._store.save(name, msgspec.msgpack.encode(rows))
        return rows

    def _silent(self, address: int) -> bool:
        """Whether the symcache has no line for `address`."""
        found = self._table.lookup(address)
        return not found or not found[0].line

    def _is_entry(self, address: int) -> bool:
        """Whether a function starts at `address`.

        The symcache mostly tells: an address whose function also holds the byte before is no entry. The symbol table is
        read only where it does not (it also knows the entries of functions that were split).
        """
        here = self._table.lookup(address)
        if here and here[-1].start == address:
            return True
        before = self._table.lookup(address - self._lowered_by)
        if here and before and here[-1].start == before[-1].start:
            return False
        return self._elf.symbols.is_entry(address) or self._debug.symbols.is_entry(address)

    def _follows_call(self, address: int) -> bool:
        return follows_call(self._elf, address) is True


def open_symbolizer(
    elf_path: Path | str,
    *,
    debug_path: Path | str | None = None,
    source_map: Sequence[str] = (),
    cache_dir: Path | str | None = None,
    limits: Limits = DEFAULT_LIMITS,
    extra_wrappers: Sequence[str] = (),
    excerpts: bool = True,
) -> ElfSymbolizer:
    """A symbolizer for an ELF, from the cache where the same build was seen before.

    Args:
        elf_path: The firmware's ELF.
        debug_path: A file that holds its debug information, where that was split off (`objcopy --only-keep-debug`);
            None looks for it where GDB does.
        source_map: `OLD=NEW` path prefixes, from the build machine's sources to this machine's.
        cache_dir: Where symcaches are kept; None for the user's cache folder.
        limits: Bounds for section sizes and inline depth.
        extra_wrappers: The user's patterns of functions that never name a site.
        excerpts: Whether source files that the ELF names are opened.

    Raises:
        UsageError: A file cannot be read, or a source map entry is malformed.
        FormatError: A file is no ELF, is cut off, or is over a limit.
        EvidenceError: The debug file is of another build.
    """
    elf = open_image(Path(elf_path), limits)
    if debug_path is not None:
        debug = open_image(Path(debug_path), limits)
    else:
        debug = elf if elf.debug_info else find_debug(elf, limits) or elf
    if elf.build_id and debug.build_id and elf.build_id != debug.build_id:
        raise EvidenceError(
            f"{debug.name} is the debug file of another build: its build id is {debug.build_id}, that of {elf.name} is"
            f" {elf.build_id}",
            try_this="the debug file that the same build wrote",
        )
    return ElfSymbolizer(
        elf,
        debug,
        store=CacheStore(Path(cache_dir) if cache_dir is not None else cache_folder()),
        sources=SourceFiles(source_map) if excerpts else None,
        limits=limits,
        extra_wrappers=tuple(extra_wrappers),
    )
