"""Address to function, file, line and inlined calls, through symbolic. The only importer of symbolic.

symbolic turns DWARF into a symcache once (0.2 s for 25 MB); after that an address is one binary search in a file that
is kept between runs. Facts that its documentation does not state and that were found by trying (13.9):

- It counts addresses from the first PT_LOAD in the table, in 32 bits. Code that lies lower (a linker script that
  lists RAM first) or 4 GiB higher is lost. Then it is shown a copy whose first PT_LOAD starts where code does.
- `Archive.from_bytes` keeps no reference to the bytes: they must outlive the archive.
- Thumb functions without DWARF keep bit 0 in their symbols, so they seem to start a byte late: an address is asked for
  by its instruction's second byte.
- A function's name is the symbol at its first range, which for a split function is `name.cold`.
- Names are not demangled.
"""

from __future__ import annotations

import contextlib
import os
import struct
from typing import TYPE_CHECKING, Any

import msgspec
from symbolic.debuginfo import Archive
from symbolic.exceptions import SymbolicError
from symbolic.symcache import SYMCACHE_LATEST_VERSION, SymCache

if TYPE_CHECKING:
    from heaptrail.symbols.elf import ElfImage
    from heaptrail.symbols.store import CacheStore

_REACH = 1 << 32
_MAX_REBASED_BYTES = 1 << 30
_NAME_CHARACTERS = 4_096


class Location(msgspec.Struct, frozen=True):
    """One function at an address. `line` is 0 where the code has none, `start` the address of its first byte."""

    function: str | None
    file: str | None
    line: int
    start: int


class AddressTable:
    """Looks addresses up in one symcache; a table without a symcache knows nothing.

    Args:
        cache: symbolic's SymCache, or None.
        base: The address that it counts from.
        thumb: Bit 0 of a function's address may say Thumb.
        failure: Why there is no symcache, None where there is one.
    """

    def __init__(self, cache: Any, base: int, *, thumb: bool = False, failure: str | None = None) -> None:  # noqa: ANN401 - SymCache is untyped
        self._cache = cache
        self._base = base
        self._thumb = int(thumb)
        self._last: tuple[int, list[Location]] = (-1, [])
        self.failure = failure

    def lookup(self, address: int) -> list[Location]:
        """The functions at `address`, innermost inlined one first; empty where nothing is known."""
        if address == self._last[0]:  # a return address is looked at twice in a row: as an entry, then as a call
            return self._last[1]
        offset = (address | self._thumb) - self._base
        found: list[Any] = []
        if self._cache is not None and 0 <= offset < _REACH:
            with contextlib.suppress(SymbolicError):
                found = self._cache.lookup(offset)
        locations = [self._location(item) for item in found]
        self._last = (address, locations)
        return locations

    def _location(self, item: Any) -> Location:  # noqa: ANN401 - symbolic's SourceLocation is untyped
        return Location(
            item.symbol[:_NAME_CHARACTERS] if item.symbol and item.symbol != "?" else None,
            item.full_path[:_NAME_CHARACTERS] if item.full_path else None,
            item.line,
            (item.sym_addr + self._base) & ~self._thumb,
        )


def cache_name(image: ElfImage) -> str:
    """The name under which an image's symcache is kept; another version of the format is another name."""
    return f"{image.identity}-{SYMCACHE_LATEST_VERSION}.symcache"


def address_table(image: ElfImage, store: CacheStore) -> AddressTable:
    """The table for `image`: from the store where it is kept and whole, else made from the DWARF and kept.

    An image whose debug information symbolic refuses gets a table that knows nothing and says why.
    """
    base = _base(image)
    thumb = image.arch == "arm"
    name = cache_name(image)
    kept = store.load(name)
    if kept is not None:
        try:
            cache = SymCache.from_bytes(kept)  # type: ignore[no-untyped-call]  # symbolic is half typed
            if cache.is_latest_version:
                return AddressTable(cache, base, thumb=thumb)
        except SymbolicError:
            pass  # made by a version that wrote the same number differently; it is made anew
    try:
        cache = _convert(image, base)
    except SymbolicError as error:
        return AddressTable(
            None, base, thumb=thumb, failure=str(error).splitlines()[0][:200] if str(error) else "unknown reason"
        )
    with cache.open_stream() as stream:
        store.save(name, stream.read())
    return AddressTable(cache, base, thumb=thumb)


def _base(image: ElfImage) -> int:
    """Where addresses are counted from: the first PT_LOAD, unless code lies out of reach from there."""
    if not image.executable_ranges or image.load_field is None:
        return image.load_address
    lowest = image.executable_ranges[0][0]
    highest = max(end for _, end in image.executable_ranges)
    reachable = image.load_address <= lowest and highest - image.load_address <= _REACH
    return image.load_address if reachable or image.file_bytes > _MAX_REBASED_BYTES else lowest


def _convert(image: ElfImage, base: int) -> Any:  # noqa: ANN401 - SymCache is untyped
    data = b""
    if base == image.load_address or image.load_field is None:
        archive = Archive.open(os.fsencode(image.path))
    else:
        changed = image.read_all()
        order = "<" if image.little_endian else ">"
        struct.pack_into(order + ("Q" if image.bits == 64 else "I"), changed, image.load_field, base)
        data = bytes(changed)
        archive = Archive.from_bytes(data)
    found = next(archive.iter_objects(), None)
    if found is None:
        raise SymbolicError("no object that it can read")  # type: ignore[no-untyped-call]  # as above
    cache = found.make_symcache()
    del found, archive, data  # in this order: the archive looks into the bytes
    return cache
