"""Where symcaches are kept between runs: the user's cache folder, one checked file for each image.

A folder that cannot be used costs time, never an error; a file that was damaged is one that is not there.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAGIC = b"heaptrail cache 1\n"
_DIGEST = 16
_HEAD = 64  # the payload starts at a multiple of 16, as symcaches expect
_KEPT = 64
_MAX_BYTES = 1 << 30


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path | None:
    """`$XDG_CACHE_HOME/heaptrail`, else `~/.cache/heaptrail` (XDG base directory specification); None without a home.

    A relative XDG_CACHE_HOME is ignored, as the specification asks.
    """
    base = environ.get("XDG_CACHE_HOME", "")
    if base and Path(base).is_absolute():
        return Path(base) / "heaptrail"
    try:
        return Path.home() / ".cache" / "heaptrail"
    except RuntimeError:
        return None


class CacheStore:
    """Bytes by name in one folder. Every failure of the folder is a miss.

    Args:
        folder: Where the files lie; made when something is saved. None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def load(self, name: str) -> bytes | None:
        """What was saved under `name`; None where nothing was, or where it is damaged."""
        if self._folder is None:
            return None
        path = self._folder / name
        try:
            if not path.is_file() or path.stat().st_size > _MAX_BYTES:
                return None
            data = path.read_bytes()
        except OSError:
            return None
        payload = data[_HEAD:]
        if data[:_HEAD] != _head(payload):
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # the least recently used is the first to go
        return payload

    def save(self, name: str, payload: bytes) -> bool:
        """Keep `payload`, whole or not at all, even when two runs save at once. False where it could not be kept."""
        if self._folder is None:
            return False
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, temporary = tempfile.mkstemp(prefix=".new-", dir=self._folder)
            try:
                with open(handle, "wb") as stream:  # noqa: PTH123 - the descriptor is mkstemp's
                    stream.write(_head(payload))
                    stream.write(payload)
                Path(temporary).replace(self._folder / name)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
            self._prune(self._folder)
        except OSError:
            return False
        return True

    @staticmethod
    def _prune(folder: Path) -> None:
        """Keep the last used files only: every build leaves one, and nobody cleans a cache folder."""
        files = [(path.stat().st_mtime_ns, path) for path in folder.iterdir() if path.is_file()]
        for _, path in sorted(files, reverse=True)[_KEPT:]:
            path.unlink(missing_ok=True)


def _head(payload: bytes) -> bytes:
    return (_MAGIC + blake2b(payload, digest_size=_DIGEST).digest()).ljust(_HEAD, b"\0")
