"""What the fuzz targets share. Each is a function of bytes that raises where a promise is broken; pytest calls it with
Hypothesis, `make fuzz` with atheris, which looks for bytes that lead into code not seen before.
"""

from __future__ import annotations

import gc
import sys
from types import FunctionType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def patched(base: bytes, data: bytes) -> bytes:
    """`base` with patches: of each four bytes of `data`, two say where, two what stands there then."""
    made = bytearray(base)
    for at in range(0, len(data) - 3, 4):
        place = int.from_bytes(data[at : at + 2], "little") * max(1, len(made) >> 16) % len(made)
        made[place : place + 2] = data[at + 2 : at + 4]
    return bytes(made[: len(base)])


def fuzz(one_input: Callable[[bytes], object]) -> None:
    """Fuzz until something breaks or the time is over; atheris reads the command line."""
    import atheris

    def take(data: bytes) -> None:
        one_input(data)

    for each in gc.get_objects():  # all of heaptrail, and nothing of the libraries, which would take minutes
        if isinstance(each, FunctionType) and (each.__module__ or "").startswith("heaptrail"):
            atheris.instrument_func(each)
    atheris.Setup(sys.argv, take)
    atheris.Fuzz()
