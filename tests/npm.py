"""Files that other people publish in npm packages, such as the schema of a format: fetched when a test asks for them.

They are not kept in the repository: most are not ours to pass on, and the version that is tested against stands here.
"""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest

DEADLINE_S = 120


@cache
def npm_package(name: str) -> Path:
    """The folder of an unpacked package, such as `speedscope@1.25.0`; the test is skipped where there is no npm."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip(f"needs npm to fetch {name} (apt-get install npm)")
    folder = Path(mkdtemp(prefix="heaptrail-npm-"))
    packed = subprocess.run(
        [npm, "pack", "--silent", name], cwd=folder, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert packed.returncode == 0, f"npm pack {name}: {packed.stderr}"
    with tarfile.open(folder / packed.stdout.split()[-1]) as archive:
        archive.extractall(folder, filter="data")
    return folder / "package"
