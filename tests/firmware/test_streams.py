"""What a 32-bit and a 64-bit firmware stream over their UART: decoded here, it is what they counted themselves."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest

from heaptrail.model.stream import Ending, Kind
from heaptrail.symbols.elf import open_image
from heaptrail.symbols.lines import open_symbolizer
from heaptrail.wire import VERSION, decode
from heaptrail.wire.beside import TextBeside

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Board

    from heaptrail.model.stream import Stream

pytestmark = pytest.mark.firmware
HERE = Path(__file__).resolve().parent
SITES = ("softvol_update", "resample_update")


class Life(NamedTuple):
    """One block as the firmware printed it; events are counted without those that only move the clock."""

    address: int
    size: int
    site: str
    born: int
    died: int | None


class Streamed(NamedTuple):
    elf: Path
    stream: Stream
    text: str
    lives: list[Life]


@pytest.fixture(scope="session")
def streamed(firmware: Callable[..., tuple[Path, bytes]]) -> Streamed:
    elf, printed = firmware("streams.c", "-DHT_STREAM=1", "-DHT_STREAM_FRAMES=16")
    beside = TextBeside()
    text = (beside.feed(printed) + beside.settle()).decode()
    rows = re.findall(r"^life \d+ ([0-9a-f]+) (\d+) (\d) (\d+) (\d+|-)$", text, re.MULTILINE)
    lives = [
        Life(int(address, 16), int(size), SITES[int(site)], int(born), None if died == "-" else int(died))
        for address, size, site, born, died in rows
    ]
    return Streamed(elf, decode(printed), text, lives)


def test_every_life_is_the_one_that_the_firmware_counted(streamed: Streamed, board: Board) -> None:
    stream = streamed.stream
    number = np.cumsum(stream.events.kind != Kind.TIME) - 1
    symbols = open_symbolizer(streamed.elf)
    names = {
        key[1]: next(name for raw in stack.frames if (name := symbols.resolve(raw)[0].function) in SITES)
        for key, stack in stream.stacks.items()
        if any(symbols.resolve(raw)[0].function in SITES for raw in stack.frames)
    }
    decoded = [
        Life(
            int(stream.lifetimes.address[row]),
            int(stream.lifetimes.size[row]),
            names[int(stream.events.stack[born])],
            int(number[born]),
            int(number[died]) if died >= 0 else None,
        )
        for row, (born, died) in enumerate(zip(stream.lifetimes.born, stream.lifetimes.died, strict=True))
    ]

    assert len(decoded) > 150
    assert decoded == streamed.lives
    assert stream.pointer_bytes == (8 if board.name == "virt" else 4)


def test_nothing_was_lost_and_the_build_is_told(streamed: Streamed) -> None:
    stream = streamed.stream

    assert stream.problems == ()
    assert stream.lifetimes.unmatched_frees == 0
    assert stream.build_id == open_image(streamed.elf).build_id
    assert {task.name for task in stream.tasks.values()} >= {"AudioRender", "Tmr Svc"}
    assert set(stream.lifetimes.ending.tolist()) <= {Ending.LIVE, Ending.FREED}


def test_the_text_of_the_console_is_whole_beside_the_stream(streamed: Streamed) -> None:
    assert streamed.text.count("a line of another task\n") == 10
    assert re.search(r"heaptrail: stream on wire=1 .*\n", streamed.text)
    told = re.search(r"heaptrail: stream off frames=(\d+) bytes=\d+ events=(\d+) dropped=0", streamed.text)
    assert told is not None
    assert int(told[1]) == streamed.stream.counts.frames


def test_the_elf_says_which_version_it_writes(streamed: Streamed) -> None:
    assert open_image(streamed.elf).text_at("ht_wire_version") == f"heaptrail.wire/{VERSION}"
