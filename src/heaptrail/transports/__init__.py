"""Ways to a console. A transport moves bytes and knows nothing of what they mean.

Adding one: a file here with a class that satisfies `Transport`, and one line in `REGISTRY`.
"""

from __future__ import annotations

from typing import Protocol

REGISTRY: dict[str, str] = {
    "exec": "heaptrail.transports.process:ProcessTransport",
    "replay": "heaptrail.transports.replay:ReplayTransport",
    "serial": "heaptrail.transports.serial:SerialTransport",
}


class Line(Protocol):
    """A console's two directions. Opened once, closed always."""

    def open(self) -> None:
        """Connect. Raises `TargetError` with what was found."""
        ...

    def read(self, timeout_s: float) -> bytes:
        """What arrived, at once when something is there, else after at most `timeout_s`; empty on a quiet line.

        Raises:
            TargetError: The other end is gone (the program ended, the adapter was pulled).
        """
        ...

    def write(self, data: bytes) -> None:
        """Send all of `data`. Raises `TargetError` when the other end is gone."""
        ...

    def close(self) -> None:
        """Let go of the console; never raises, may be called twice."""
        ...


class Transport(Line, Protocol):
    """A line that is made from a target string."""

    @classmethod
    def from_target(cls, target: str, *, baud: int) -> Transport:
        """A closed transport for a target such as `/dev/ttyUSB0`, `socket://host:port` or `exec:./program args`."""
        ...


def scheme_of(target: str) -> str:
    """The registry name for a target string: `exec:…`, `replay:…`, and everything else is for pyserial."""
    for scheme in ("exec", "replay"):
        if target.startswith(f"{scheme}:"):
            return scheme
    return "serial"
