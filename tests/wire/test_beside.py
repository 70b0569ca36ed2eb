"""The text of a console that frames pass over: whole, in order, however the bytes are cut."""

from __future__ import annotations

from binascii import crc_hqx

from hypothesis import given
from hypothesis import strategies as st

from heaptrail.wire.beside import TextBeside


def frame_of(payload: bytes) -> bytes:
    """A frame as SPEC.md has it, with its closing zero."""
    plain = payload + crc_hqx(payload, 0xFFFF).to_bytes(2, "big")
    key = next(key for key in range(1, 256) if key not in plain)
    return bytes((key, *(byte ^ key for byte in plain), 0))


LINES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=40).map(
    lambda line: f"{line}\r\n".encode()
)
FRAMES = st.binary(min_size=1, max_size=200).map(frame_of)


@given(passed=st.lists(st.one_of(LINES, FRAMES.map(lambda frame: b"\0" + frame)), max_size=12), data=st.data())
def test_text_and_frames_come_apart_in_any_chunking(passed: list[bytes], data: st.DataObject) -> None:
    line = b"".join(passed) + b"\0"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(line)), max_size=8)))
    beside = TextBeside()

    text = b"".join(beside.feed(line[a:b]) for a, b in zip([0, *cuts], [*cuts, len(line)], strict=True))

    frames = [each for each in passed if each.startswith(b"\0")]
    assert (text, beside.frames) == (b"".join(each for each in passed if each not in frames), len(frames))


def test_a_prompt_is_seen_when_the_line_is_quiet_and_is_not_told_twice() -> None:
    beside = TextBeside()

    assert beside.feed(b"\0" + frame_of(b"abc") + b"c906>") == b""
    assert beside.settle() == b"c906>"
    assert beside.settle() == b""
    assert beside.feed(b"free\r\n\0") == b"free\r\n"


def test_the_beginning_of_a_frame_is_no_text() -> None:
    beside = TextBeside()
    frame = frame_of(bytes(range(120, 200)))

    assert beside.feed(b"\0" + frame[:20]) + beside.settle() + beside.feed(frame[20:]) == b""
    assert beside.frames == 1


def test_text_that_no_frame_ends_is_not_held_back() -> None:
    beside = TextBeside()
    text = b"playback round 1 complete\r\n" * 40

    assert beside.feed(text[:600]) + beside.feed(text[600:]) + beside.settle() == text
