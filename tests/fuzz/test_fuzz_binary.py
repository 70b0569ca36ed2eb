"""The fuzz targets of binary input under Hypothesis, and the seeds that `make fuzz` starts from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fuzz.fuzz_elf import elf_any
from fuzz.fuzz_ram import ram_any
from fuzz.fuzz_systemview import systemview_any
from fuzz.fuzz_wire import wire_any
from fuzz.seeds import seeds
from hypothesis import given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable

TARGETS = {"elf": elf_any, "ram": ram_any, "systemview": systemview_any, "wire": wire_any}


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=120))
def test_any_bytes_are_taken_or_refused_in_one_sentence(target: Callable[[bytes], None], data: bytes) -> None:
    assert target(data) is None, "it raises where anything but HeaptrailError came out, or a promise is broken"


@pytest.mark.parametrize("name", TARGETS)
def test_the_seeds_are_taken(name: str) -> None:
    inputs = seeds()[name]

    assert len(inputs) >= 8
    for data in inputs:
        TARGETS[name](data)
