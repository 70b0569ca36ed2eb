"""The event stream: bytes on the line for an allocation and a free, and how fast the host reads them.

The bytes are those of a real run: the example player writes every event of its rounds, with whole stacks, framing,
checksums, definitions and their repetitions included. What is in frames of definitions and in heads of frames is shared
out over all events. The decoding speed is measured on a long run of the mended player and on some million events of the
C encoder's loop driver, beside a decoder of the same format as one would write it first: a Python loop over events.
Both run in this process, one after the other, the best of several.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from binascii import crc_hqx
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from table import Row, write_table

from heaptrail.model.stream import Kind
from heaptrail.wire import decode
from heaptrail.wire.events import heads_of
from heaptrail.wire.format import SHIFTS, TABLES, shape_of
from heaptrail.wire.frames import FrameCounts, split

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parent.parent
PLAYER = ROOT / "out" / "rtplayer"
ROUNDS = 60  # the heap of the leaking player lasts for 71
LONG_ROUNDS = 8_000
REPEATS = 5
MANY = 4_000_000
FEW = 200_000
SHAPES = [shape_of(control) for control in range(256)]


def played(name: str, rounds: int, target: Path) -> bytes:
    """A run of a player, from its boot to the end of its teardown."""
    player = subprocess.Popen(
        [PLAYER / name, "--speed", "0", "--trace", target], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    player.stdin.write(f"rtplayer_test {PLAYER / 'boot.wav'}\nl\n".encode())
    player.stdin.flush()
    for line in player.stdout:
        if f"round {rounds} complete".encode() in line:
            break
    player.communicate(b"rtpc q\n", timeout=120)
    return target.read_bytes()


def looped(folder: Path, events: int) -> bytes:
    """The C encoder's loop: the player's pattern, as many events as asked for."""
    program = folder / "encode"
    sources = [*(ROOT / "agent" / "src").glob("ht_wire*.c"), ROOT / "tests" / "wire" / "encode.c"]
    subprocess.run(["gcc", "-O2", f"-I{ROOT / 'agent' / 'include'}", *sources, "-o", program], check=True)
    return subprocess.run([program, "loop", str(events)], check=True, capture_output=True).stdout


def shares(data: bytes) -> tuple[float, float, float]:
    """Bytes for an allocation and for a free, all else shared out over the events; and events a frame."""
    frames = split(data, FrameCounts())
    heads, _ = heads_of(frames)
    kinds, own = [], []
    for body, count in zip(heads.body, heads.events, strict=True):
        controls = frames.plain[body : body + count]
        kinds.append(TABLES.kind[controls])
        own.append(1 + TABLES.length[controls])
    kind, bytes_of = np.concatenate(kinds), np.concatenate(own)
    events = int((kind != Kind.TIME).sum())
    shared = (len(data) - int(bytes_of[kind != Kind.TIME].sum())) / events
    free = (kind == Kind.FREE) | (kind == Kind.FREE_AT)
    return (
        float(bytes_of[kind == Kind.ALLOC].mean()) + shared,
        float(bytes_of[free].mean()) + shared,
        float(heads.events.mean()),
    )


def by_hand(data: bytes) -> int:
    """The same format, read event by event; allocations and frees joined in a dictionary. Definitions are skipped."""
    live: dict[int, tuple[int, int, int, int]] = {}
    ended = []
    count = 0
    for frame in data.split(b"\0"):
        if len(frame) < 4:
            continue
        key = frame[0]
        plain = bytes(byte ^ key for byte in frame[1:])
        if crc_hqx(plain, 0xFFFF) != 0 or plain[0] >> 4 != 1 or plain[0] & 8 == 0:
            continue
        events, birth = plain[1], int.from_bytes(plain[6:10], "little")
        now = int.from_bytes(plain[10:14], "little")
        body = 22 if plain[0] & 4 else 18
        address, shift = int.from_bytes(plain[14:body], "little"), SHIFTS[plain[0] & 3]
        at = len(plain) - 2
        for control in plain[body : body + events]:
            kind, widths = SHAPES[control]
            at -= sum(widths)
            start, values = at, []
            for width in widths[:5]:
                values.append(int.from_bytes(plain[start : start + width], "little"))
                start += width
            address += int.from_bytes(plain[start : start + widths[5]], "little", signed=True) << shift
            now += values[0]
            if kind == Kind.ALLOC:
                birth += 1
                live[birth] = (now, values[1], values[3], address)
            elif kind == Kind.FREE:
                block = live.pop(birth - values[4], None)
                if block is not None:
                    ended.append((block, now, values[1]))
            count += 1
    return count


def rate(work: Callable[[], int], repeats: int) -> float:
    """Events a second, the best of some runs."""
    best = 0.0
    for _ in range(repeats):
        started = time.perf_counter()
        events = work()
        best = max(best, events / (time.perf_counter() - started))
    return best


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        trace = played("rtplayer", ROUNDS, Path(folder) / "trace.bin")
        long = played("rtplayer-mended", LONG_ROUNDS, Path(folder) / "long.bin")
        many = looped(Path(folder), MANY)
        few = looped(Path(folder), FEW)
    stream = decode(trace)
    depths = [len(stack.frames) for stack in stream.stacks.values()]
    alloc, free, per_frame = shares(trace)
    lives = rate(lambda: len(decode(many).events), REPEATS)
    hand = rate(lambda: by_hand(few), 2)
    real = rate(lambda: len(decode(long).events), REPEATS)
    case = f"rtplayer, {ROUNDS} rounds, {len(stream.events):,} events, stacks of {np.mean(depths):.1f} frames"
    loop = f"C encoder's loop, {MANY / 1e6:.0f} M events"
    beside = "a Python loop over events"
    rows = [
        Row(case, "bytes an allocation", round(alloc, 2), "bytes", 8),
        Row(case, "bytes a free", round(free, 2), "bytes", 5),
        Row(case, "bytes an event, all told", round(len(trace) / len(stream.events), 2), "bytes"),
        Row(case, "events a frame", round(per_frame, 1), "events"),
        Row(case, "events lost", stream.counts.lost_events, "events", 0),
        Row(loop, "bytes an event, all told", round(len(many) / len(decode(many).events), 2), "bytes"),
        Row(loop, "decoded and joined to lives", round(lives), "events/s", 5_000_000),
        Row(
            f"rtplayer-mended, {LONG_ROUNDS:,} rounds, {len(decode(long).events):,} events",
            "decoded and joined to lives",
            round(real),
            "events/s",
            5_000_000,
        ),
        Row(loop, f"decoded by {beside}", round(hand), "events/s"),
        Row(loop, "speed-up", round(lives / hand, 1), "times", None, beside),
    ]
    write_table("wire", rows)


if __name__ == "__main__":
    main()
