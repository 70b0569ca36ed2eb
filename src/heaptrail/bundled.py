"""The C sources that come with the package: the agent, and the example player that the demo hunts.

In an installed wheel they lie in `heaptrail/bundled`; in a checkout they are the repository's own folders.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from heaptrail.errors import UsageError

_HERE = Path(__file__).resolve().parent
_BUILT = shutil.ignore_patterns("*.o", "obj", "build", "__pycache__")


def agent_ports() -> tuple[str, ...]:
    """The ports of the agent that this version has."""
    return tuple(sorted(folder.name for folder in (_root() / "agent" / "port").iterdir() if folder.is_dir()))


def export_agent(target: Path, port: str) -> None:
    """Copy the agent's headers, sources and one port to `target`.

    Raises:
        UsageError: There is no such port, or the folder cannot be written.
    """
    if port not in agent_ports():
        raise UsageError(f"the agent has no port named {port!r}", try_this=f"one of: {', '.join(agent_ports())}")
    agent = _root() / "agent"
    for name in ("include", "src", f"port/{port}"):
        _copy(agent / name, target / name)
    for name in ("Kconfig", "CMakeLists.txt"):
        shutil.copy2(agent / name, target / name)


def export_player(target: Path) -> Path:
    """Copy the example player with the agent to `target`; gives the player's workload file.

    Raises:
        UsageError: The folder cannot be written.
    """
    _copy(_root() / "agent", target / "agent")
    _copy(_root() / "examples" / "rtplayer", target / "examples" / "rtplayer")
    return target / "examples" / "rtplayer" / "heaptrail.toml"


def _root() -> Path:
    installed = _HERE / "bundled"
    return installed if installed.is_dir() else _HERE.parents[1]


def _copy(source: Path, target: Path) -> None:
    try:
        shutil.copytree(source, target, dirs_exist_ok=True, ignore=_BUILT)
    except (OSError, shutil.Error) as error:
        raise UsageError(f"{target} cannot be written: {error}", try_this="another folder") from error
