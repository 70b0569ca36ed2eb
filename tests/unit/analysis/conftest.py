"""Evidence by example: runs of the case's player, built reading by reading and block by block."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from heaptrail.model.evidence import Evidence, FootprintRule, LiveDump
from heaptrail.model.observations import Block, Dump, HeapSample, RawFrame

if TYPE_CHECKING:
    from collections.abc import Iterable

HEAP_4 = FootprintRule(header_bytes=8, align_bytes=8, basis="FreeRTOS heap_4, 8-byte header")
SOFTVOL = tuple(RawFrame(pc, "call") for pc in (0x08336AEE, 0x08336B46, 0x08396D52, 0x084B025E, 0x08446856, 0x084496C6))
RESAMPLE = tuple(
    RawFrame(pc, "call") for pc in (0x08336AEE, 0x08336B46, 0x0839757E, 0x084B025E, 0x08446856, 0x084496C6)
)
FREE_AT_START = 547_632


def reading(cycle: int | None, free: int, **more: object) -> HeapSample:
    return HeapSample(line=1, cycle=cycle, free_bytes=free, total_bytes=1_907_128, **more)  # type: ignore[arg-type]


def readings(frees: Iterable[int], **more: object) -> tuple[HeapSample, ...]:
    """One reading at the end of each cycle, from cycle 0 on."""
    return tuple(reading(cycle, free, **more) for cycle, free in enumerate(frees))


def block(stack: tuple[RawFrame, ...], born: int, dump: int, size: int = 0xF00, **more: object) -> Block:
    """The block that `stack` allocated in cycle `born`; its address follows from both."""
    address = 0x0870_0000 + born * 0x1000 + (sum(frame.pc for frame in stack) & 0xFF0)
    return Block(
        line=1,
        dump=dump,
        address=address,
        size_bytes=size,
        size_kind="requested",
        task="AudioRender",
        frames=stack,
        **more,
    )  # type: ignore[arg-type]


def listing(
    number: int, cycle: int | None, blocks: Iterable[Block], armed: int | None = None, workload: str | None = "running"
) -> LiveDump:
    return LiveDump(
        dump=Dump(line=1, dump=number, cycle=cycle),
        blocks=tuple(blocks),
        armed_cycle=armed,
        workload=workload,  # type: ignore[arg-type]
    )


def player_run(
    *,
    leaks: bool = True,
    kept_at_stop: bool = True,
    warmup: int = 5,
    measured: int = 15,
    traced: int = 15,
    dumps_at: tuple[int, ...] = (25, 30, 35),
) -> Evidence:
    """A hunt on the player: free each cycle, the tracer armed after the measured cycles, dumps, then the stop.

    The leaking player allocates one block at each of two sites per round and frees only the last pair at the stop
    (`kept_at_stop=False`: all of them). The mended one always holds one block per site while it plays.
    """
    armed, last = warmup + measured, warmup + measured + traced
    frees = [FREE_AT_START - (2 * 3848 * cycle if leaks else 0) for cycle in range(last + 1)]
    samples = tuple(
        reading(cycle, free, tracer="off" if cycle <= armed else "on", t_s=cycle * 30.0)
        for cycle, free in enumerate(frees)
    )

    def live(number: int, cycle: int, *, stopped: bool) -> list[Block]:
        born = range(armed + 1, cycle + 1) if leaks else range(cycle, cycle + 1)
        if stopped:
            born = range(armed + 1, cycle) if leaks and kept_at_stop else range(0)
        return [block(stack, cycle, number) for cycle in born for stack in (SOFTVOL, RESAMPLE)]

    dumps = [listing(i, at, live(i, at, stopped=False), armed) for i, at in enumerate(dumps_at)]
    dumps.append(listing(len(dumps), last, live(len(dumps), last, stopped=True), armed, "stopped"))
    return Evidence(samples=samples, dumps=tuple(dumps), cycles_from="marks", footprint=HEAP_4)


class Runs:
    """The builders above, for tests: `importlib` mode gives them no module to import from."""

    SOFTVOL, RESAMPLE, HEAP_4 = SOFTVOL, RESAMPLE, HEAP_4
    reading = staticmethod(reading)
    readings = staticmethod(readings)
    block = staticmethod(block)
    listing = staticmethod(listing)
    player = staticmethod(player_run)


@pytest.fixture(scope="session")
def runs() -> type[Runs]:
    return Runs
