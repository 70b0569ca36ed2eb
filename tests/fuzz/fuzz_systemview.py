"""Fuzz target: any bytes as a SystemView recording, as they are and as patches of a sound one, judged to the end."""

from __future__ import annotations

from fuzz.harness import fuzz, patched
from wire.systemview_encoder import leaking

from heaptrail.analysis.lifetimes import judge_histories
from heaptrail.errors import HeaptrailError
from heaptrail.model.verdict import JudgeSettings
from heaptrail.wire.systemview import looks_like_recording, observations_of, read_recording, stream_of

SOUND = leaking(12).files()
HEAD = b";\n; Version     SEGGER SystemViewer V3.60\n;\n" + bytes(10)


def systemview_any(data: bytes) -> None:
    """Raises AssertionError where a promise is broken, and what is no HeaptrailError where something breaks."""
    looks_like_recording(data)
    for files in ([HEAD + data], [patched(each, data) for each in SOUND]):
        try:
            recording = read_recording([(f"{core}.svdat", each) for core, each in enumerate(files)], most_moments=500)
            assert len(recording.moments) <= 500
            assert recording.packets <= sum(map(len, files))
            observations = list(observations_of(recording, frames_per_block=4))
            assert all(observation.line >= 0 for observation in observations)
            judge_histories(stream_of(recording, frames_per_block=4), JudgeSettings())
        except HeaptrailError:
            continue


if __name__ == "__main__":
    fuzz(systemview_any)
