"""One file for each RTOS's console: lines in, observations out. No I/O, no clock, no symbols.

Adding one: a file here with a class that satisfies `Dialect`, one line in `REGISTRY`, and a folder of golden logs under
`tests/golden/dialects/`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from heaptrail.limits import Limits
    from heaptrail.model.evidence import FootprintRule
    from heaptrail.model.observations import AnyObservation

REGISTRY: dict[str, str] = {
    "alios": "heaptrail.dialects.alios:AliOs",
    "ameba": "heaptrail.dialects.ameba:Ameba",
    "csv": "heaptrail.dialects.plain_csv:PlainCsv",
    "espidf": "heaptrail.dialects.espidf:EspIdf",
    "firmware": "heaptrail.dialects.firmware:Firmware",
    "flipper": "heaptrail.dialects.flipper:Flipper",
    "freertos": "heaptrail.dialects.freertos:FreeRtos",
    "heaptrail": "heaptrail.dialects.heaptrail_agent:HeaptrailAgent",
    "liteos": "heaptrail.dialects.liteos:LiteOs",
    "mbed": "heaptrail.dialects.mbed:Mbed",
    "nuttx": "heaptrail.dialects.nuttx:Nuttx",
    "regex": "heaptrail.dialects.plain_regex:PlainRegex",
    "rtthread": "heaptrail.dialects.rtthread:RtThread",
    "tina": "heaptrail.dialects.tina:Tina",
    "tizenrt": "heaptrail.dialects.tizenrt:TizenRt",
    "zephyr": "heaptrail.dialects.zephyr:Zephyr",
}
CONFIGURED = frozenset({"csv", "regex"})
"""Made with the user's description of the lines as well (`heaptrail.dialects.plain.PlainForm`), and no part of `auto`
without one."""


class Line(msgspec.Struct, frozen=True):
    """One console line as a dialect sees it: control sequences, log prefixes and the line end are gone.

    `number`, `boot`, `cycle` and `t_s` are handed on into every observation made from the line. `system` is the dialect
    of the system that the user named, or that a start-up banner or a log prefix has given away so far; None else.
    """

    text: str
    number: int
    boot: int = 1
    cycle: int | None = None
    t_s: float | None = None
    system: str | None = None


class ConsoleCommands(msgspec.Struct, frozen=True, kw_only=True):
    """What a procedure types on this RTOS's console; None where the RTOS has no such command.

    Args:
        sample: Prints the heap's totals.
        arm: Starts recording allocations.
        peek: Prints the live blocks and goes on recording.
        collect: Prints the live blocks and stops recording.
        moment: Prints a number that grows with every allocation.
        moment_pattern: Regular expression of the line that holds it; group 1 is the number.
        sites: Prints what the tracer counted at each call stack, and goes on recording.
        since: Prints the blocks allocated from `{moment}` on; typed instead of `peek` and `collect` where one is known.
        tasks: Prints the tasks, so that blocks have names for owners and owners that have ended are seen.
        prompt: Regular expression of the whole usual prompt.
        help: Regular expression of a line in the answer to `help`.
        needs: What listing blocks takes in the firmware, for a console that does not know the command.
    """

    sample: str | None = None
    arm: str | None = None
    peek: str | None = None
    collect: str | None = None
    moment: str | None = None
    moment_pattern: str | None = None
    sites: str | None = None
    since: str | None = None
    tasks: str | None = None
    prompt: str | None = None
    help: str | None = None
    needs: str | None = None


class Run(NamedTuple):
    """What a dialect read in one go: where in the block it stopped, the lines until there, what they say."""

    end: int
    lines: int
    found: list[AnyObservation]


class Dialect(Protocol):
    """Reads one RTOS's console text.

    It resynchronises on every line and never guesses: what it cannot place is a `problem` or is left alone.

    Class attributes (shown by `heaptrail list dialects`):
        name: As in the registry.
        sample_line: A line that it reads.
        firmware_options: What must be switched on in the firmware.
        tells, cannot_tell: One sentence each.
        commands: For the procedures; None where nothing can be asked.
        triggers: Substrings, as bytes; a line that holds none of them is not fed unless `wants` is above 0. This is
            what makes long logs fast, so a trigger is a word that ordinary log lines do not hold.

    Seven more a dialect may have:
        last: True where it reads what any system may print; what another dialect reads of the same line counts.
        companions: Names of dialects that are asked too when the user names this one, since its console speaks both.
        due: Number of a line that must be fed whatever it holds, if none is before, since something is over then; None
            where nothing is open. It costs less than `wants`, which asks for all the lines until there.
        run: `run(data, at, stop, line)` reads well-formed records that stand one behind the other from `at` on, up to
            `stop` at most, in one go instead of line by line, and says the same; what it is not sure of it leaves.
            `line` is the first one, without its text. Tried only where all lines are this dialect's and `runs` is True.
        runs: Whether a listing is open that `run` reads.
        passes: `passes(raw)` says of a line as it was received, which holds no trigger and was asked for by `wants`
            alone, that it is none of those wanted; then it counts as fed. It may say no to be on the safe side.
        holds: True while the lines are this dialect's alone, as between its own begin and end lines.
    """

    name: ClassVar[str]
    sample_line: ClassVar[str]
    firmware_options: ClassVar[str]
    tells: ClassVar[str]
    cannot_tell: ClassVar[str]
    commands: ClassVar[ConsoleCommands | None]
    triggers: ClassVar[tuple[bytes, ...]]

    def __init__(self, limits: Limits) -> None: ...

    @property
    def wants(self) -> int:
        """How many of the following lines must be fed whatever they hold (inside a table or a record), else 0."""
        ...

    def feed(self, line: Line) -> Iterable[AnyObservation]:
        """What this line completes."""
        ...

    def finish(self) -> Iterable[AnyObservation]:
        """What is still open at the end of the log."""
        ...

    def footprint(self) -> FootprintRule | None:
        """The allocator's header and rounding, as far as what was read shows it."""
        ...
