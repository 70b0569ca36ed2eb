"""Writes the seed corpora: `python tests/fuzz/seeds.py FOLDER` makes one folder for each target in it."""

from __future__ import annotations

import sys
from pathlib import Path

from fuzz.fuzz_elf import sound
from fuzz.fuzz_reading import NAMES
from wire.systemview_encoder import leaking

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "dialects"


def seeds() -> dict[str, list[bytes]]:
    """The inputs of each target, by its name."""
    logs = [
        bytes([NAMES.index(folder.name)]) + path.read_bytes()
        for folder in sorted(GOLDEN.iterdir())
        if folder.name in NAMES
        for path in sorted(folder.glob("*.txt"))
    ]
    patches = [bytes([at, 0, 1, 2] * 8) for at in range(0, 256, 16)]
    recordings = [leaking(rounds).one_file() for rounds in (0, 1, 9)]
    frames = [b"\0" + bytes([1 + at % 250]) * at + b"\0" for at in range(1, 40, 5)]
    return {
        "reading": logs,
        "elf": [*sound(), *patches],
        "systemview": [*recordings, *patches],
        "wire": frames,
        "ram": [
            *patches,
            b":10010000214601360121470136007EFE09D2190140\n",
            b"S1137AF00A0A0D0000000000000000000000000061\n",
        ],
    }


def main() -> None:
    for target, inputs in seeds().items():
        folder = Path(sys.argv[1], target)
        folder.mkdir(parents=True, exist_ok=True)
        for number, data in enumerate(inputs):
            (folder / f"seed-{number:03d}").write_bytes(data)


if __name__ == "__main__":
    main()
