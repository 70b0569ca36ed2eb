"""The C encoder's own streams, read by the decoder: call by call, in any chunking, after any damage."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wire.encoder import AGENT, Vector, compile_encoder, vector

from heaptrail.model.stream import Ending, Kind, Stream
from heaptrail.wire import VERSION, Decoder, WireLimits, decode
from heaptrail.wire.format import shape_of

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.sanitizer
SANITIZERS = ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
SEEDS = range(12)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_encoder(tmp_path_factory.mktemp("wire") / "encode", *SANITIZERS)


@pytest.fixture(scope="module")
def made_up(program: Path) -> Vector:
    return vector(program, "random", 4, 3000)


def events_of(stream: Stream) -> list[tuple[str, dict[str, int]]]:
    """Every event but the clock's, as plain numbers."""
    events = stream.events
    names = ("time", "birth", "age", "address", "size", "stack", "task")
    return [
        (Kind(kind).name, {name: int(getattr(events, name)[at]) for name in names})
        for at, kind in enumerate(events.kind.tolist())
        if kind != Kind.TIME
    ]


HAS = {  # what each kind of event tells
    "ALLOC": ("address", "size", "stack", "task", "birth"),
    "FREE": ("age", "stack", "task", "birth"),
    "FREE_AT": ("address", "stack", "task"),
    "REALLOC": ("age", "address", "size", "stack", "task"),
    "FAILED": ("size", "stack", "task"),
    "DOUBLE_FREE": ("address", "stack", "task"),
    "MARK": ("size", "task"),
}


def check_events(made: Vector, stream: Stream) -> None:
    found = events_of(stream)
    assert len(found) == len(made.sent)
    for call, (kind, values) in zip(made.sent, found, strict=True):
        assert kind == call["kind"]
        assert {name: values[name] for name in HAS[kind]} == {name: call[name] for name in HAS[kind]}
        assert values["time"] & 0xFFFF_FFFF == call["time"]


@pytest.mark.parametrize("arguments", [("scripted",), *(("random", seed, 2000) for seed in SEEDS)], ids=str)
def test_what_the_encoder_was_told_is_what_the_decoder_says(program: Path, arguments: tuple[str | int, ...]) -> None:
    made = vector(program, *arguments)

    stream = decode(made.data)

    check_events(made, stream)
    assert stream.counts.damaged_frames == 0
    assert stream.counts.lost_events == stream.counts.dropped_events == made.calls[-1]["dropped"]
    assert (stream.ticks_per_s, stream.pointer_bytes, stream.build_id) == (1000, 8, "deadbeef")


def lives_by_hand(made: Vector) -> dict[int, tuple[int | None, int, int]]:
    """For each birth number: the call that freed it, its last address and size. One call after the other."""
    lives: dict[int, list[int | None]] = {}
    at: dict[int, int] = {}
    for index, call in enumerate(made.sent):
        kind = call["kind"]
        if kind == "ALLOC":
            lives[call["birth"]] = [None, call["address"], call["size"]]
            at[call["address"]] = call["birth"]
        birth = call["birth"] - call["age"]
        if kind == "FREE_AT":
            birth = at.pop(call["address"], -1)
        if kind == "REALLOC" and birth in lives:
            old = lives[birth][1]
            if old is not None and at.get(old) == birth:
                del at[old]
            lives[birth][1:] = [call["address"], call["size"]]
            at[call["address"]] = birth
        if kind in ("FREE", "FREE_AT") and birth in lives and lives[birth][0] is None:
            lives[birth][0] = index
    return {birth: (died, address or 0, size or 0) for birth, (died, address, size) in lives.items()}


@pytest.mark.parametrize("seed", SEEDS)
def test_lives_are_those_of_a_simple_model(program: Path, seed: int) -> None:
    made = vector(program, "random", seed, 2000)

    stream = decode(made.data)

    lives = stream.lifetimes
    call_of = np.cumsum(stream.events.kind != Kind.TIME) - 1
    found = {
        int(stream.events.birth[born]): (int(call_of[died]) if died >= 0 else None, int(address), int(size))
        for born, died, address, size in zip(lives.born, lives.died, lives.address, lives.size, strict=True)
    }
    assert found == lives_by_hand(made)
    assert bool(((lives.died >= 0) == (lives.ending == Ending.FREED)).all())


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(0, 60_000), max_size=8))
def test_chunking_changes_nothing(made_up: Vector, cuts: list[int]) -> None:
    decoder = Decoder()
    edges = [0, *sorted(cuts), len(made_up.data)]
    for a, b in pairwise(edges):
        decoder.feed(made_up.data[a:b])
        decoder.stream()

    assert events_of(decoder.stream()) == events_of(decode(made_up.data))


@settings(max_examples=60, deadline=None)
@given(at=st.integers(0, 40_000), flip=st.integers(1, 255))
def test_a_damaged_byte_costs_its_frame_and_is_said(made_up: Vector, at: int, flip: int) -> None:
    data = bytearray(made_up.data)
    data[at] ^= flip

    stream = decode(bytes(data))

    whole = events_of(decode(made_up.data))
    left = events_of(stream)
    assert stream.counts.damaged_frames + stream.counts.foreign_bytes >= 1
    # A made-up zero or a lost one touches two frames of 76 events at most each; sizes of lost definitions come again.
    assert len(whole) - len(left) <= 2 * 76
    assert stream.counts.restarts == 0
    births = {values["birth"]: values for kind, values in whole if kind == "ALLOC"}
    for kind, values in left:
        if kind == "ALLOC" and values["size"] >= 0:
            assert values["size"] == births[values["birth"]]["size"]


def test_lost_frames_are_counted_to_the_event(made_up: Vector) -> None:
    frames = made_up.data.split(b"\0")
    whole = decode(made_up.data)

    stream = decode(b"\0".join(frames[:60] + frames[75:]))

    missing = len(whole.events) - len(stream.events)
    assert missing > 0
    assert stream.counts.lost_events - whole.counts.lost_events == missing
    assert any(problem.what == "missing_records" for problem in stream.problems)


def test_events_dropped_behind_the_last_frame_are_told(program: Path) -> None:
    made = vector(program, "full")

    stream = decode(made.data)

    assert made.calls[-1]["dropped"] == 5
    assert stream.counts.lost_events == stream.counts.dropped_events == 5
    assert [each.text for each in stream.problems] == ["5 events never arrived; the device had no room for 5 of them"]


def test_a_last_frame_that_never_arrives_is_told_by_the_greeting_behind_it(program: Path) -> None:
    greeting, events, last_greeting = vector(program, "ended").data.split(b"\0")[:-1]

    assert decode(b"\0".join([greeting, events, last_greeting, b""])).problems == ()
    assert decode(b"\0".join([greeting, last_greeting, b""])).counts.lost_events == 1


def test_a_reader_that_joins_late_learns_every_definition(made_up: Vector) -> None:
    frames = made_up.data.split(b"\0")

    stream = decode(b"\0".join(frames[len(frames) // 2 :]))

    assert bool((stream.events.size >= 0).all())
    assert stream.counts.lost_events <= decode(made_up.data).counts.lost_events


def test_a_restart_begins_a_new_run_whose_numbers_mean_their_own(program: Path) -> None:
    first, second = vector(program, "random", 1, 800), vector(program, "random", 2, 800)

    stream = decode(first.data + second.data)

    assert stream.counts.restarts == 1
    assert len(stream.events) == len(decode(first.data).events) + len(decode(second.data).events)
    born_first = stream.events.run[stream.lifetimes.born] == 0
    assert not bool((stream.lifetimes.ending[born_first] == Ending.LIVE).any()), "nothing outlives a restart"


def test_console_text_between_frames_is_no_damage(made_up: Vector) -> None:
    frames = made_up.data.split(b"\0")
    mixed = b"\0".join([*frames[:9], b"playback round 1 complete\r\n", *frames[9:]])

    stream = decode(mixed)

    assert stream.counts.damaged_frames == 0
    assert stream.counts.foreign_bytes == 27
    assert events_of(stream) == events_of(decode(made_up.data))


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=2000))
def test_any_bytes_raise_nothing(data: bytes) -> None:
    stream = decode(data)

    assert stream.counts.bytes_read == len(data)


@settings(max_examples=150, deadline=None)
@given(bodies=st.lists(st.tuples(st.integers(0, 15), st.binary(max_size=250)), max_size=12))
def test_any_payload_with_a_right_checksum_raises_nothing(bodies: list[tuple[int, bytes]]) -> None:
    stream = decode(b"".join(sealed(bytes([VERSION << 4 | kind]) + body) for kind, body in bodies))

    assert stream.counts.frames + stream.counts.damaged_frames == len(bodies)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 7), st.binary(min_size=12, max_size=20), st.binary(max_size=30)), max_size=6))
def test_any_sound_events_frame_raises_nothing(frames: list[tuple[int, bytes, bytes]]) -> None:
    data = b""
    for kind, head, controls in frames:
        shapes = [(control, shape_of(control)) for control in controls]
        kept = [(control, shape) for control, shape in shapes if shape is not None][:12]
        values = bytes(sum(sum(shape.widths) for _, shape in kept))
        base = head.ljust(20, b"\xff")[: 20 if kind & 4 else 16]
        body = bytes([VERSION << 4 | 8 | kind, len(kept)]) + base + bytes(control for control, _ in kept) + values
        data += sealed(body)

    stream = decode(data)

    assert stream.counts.frames + stream.counts.damaged_frames == len(frames)


def sealed(payload: bytes) -> bytes:
    """A frame made in Python: checksum, key, zero."""
    crc = 0xFFFF
    for byte in payload:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ (0x1021 if crc & 0x8000 else 0)) & 0xFFFF
    plain = payload + crc.to_bytes(2, "big")
    key = next(value for value in range(1, 256) if value not in plain)
    return bytes([key, *(byte ^ key for byte in plain), 0])


def test_limits_cut_and_say_so(made_up: Vector) -> None:
    stream = decode(made_up.data, WireLimits(events=500, definitions=4))

    assert len(stream.events) <= 500
    assert {"too_many"} <= {problem.what for problem in stream.problems}


def test_a_stretch_without_a_zero_is_thrown_away() -> None:
    decoder = Decoder(WireLimits(stretch_bytes=1000))
    for _ in range(100):
        decoder.feed(b"\x07" * 5000)

    counts = decoder.stream().counts

    assert counts.damaged_frames <= 1
    assert counts.bytes_read == 500_000


def test_both_sides_have_one_version() -> None:
    header = (AGENT / "include" / "ht_wire.h").read_text(encoding="utf-8")
    source = (AGENT / "src" / "ht_wire.c").read_text(encoding="utf-8")

    assert re.search(r"#define HT_WIRE_VERSION (\d+)", header)[1] == str(VERSION)  # type: ignore[index]
    assert f'"heaptrail.wire/{VERSION}"' in source
