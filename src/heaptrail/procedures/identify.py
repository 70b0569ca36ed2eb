"""Whose console is this? Asked of the device itself: by its prompt, else by what `help` says.

Both are harmless on every system. The signs are the dialects' own (`heaptrail.dialects.ConsoleCommands`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from heaptrail.dialects import CONFIGURED, REGISTRY, ConsoleCommands
from heaptrail.registry import resolve

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from heaptrail.procedures.console import Console

_FALLBACK = "tina"
_UNKNOWN = re.compile(
    r"(?i)(?:command not found|unknown command|unrecogni[sz]ed command|no such command|invalid command|not a command"
    r"|command not recogni[sz]ed|please specify a subcommand|wrong parameter count)"
)
"""How the shells of these systems refuse: NuttX, RT-Thread and Zephyr `NAME: command not found`, ESP-IDF `Unrecognized
command`, FreeRTOS+CLI `Command not recognised.`; Zephyr of a part that is missing `Please specify a subcommand.`"""
_LONGEST_REFUSAL = 120


class Identity(NamedTuple):
    """A dialect by name, its commands, and why it is believed to be this one; `known` is false for a mere try."""

    dialect: str
    commands: ConsoleCommands
    because: str
    known: bool = True


def identify(console: Console) -> Identity:
    """Find out what to type on a console that stands at its prompt.

    Raises:
        ConsoleTimeout: `help` was not answered.
    """
    known = dict(_known())
    prompt = console.prompt_shown
    fits = [name for name, commands in known.items() if commands.prompt and re.fullmatch(commands.prompt, prompt)]
    if len(fits) == 1:
        return Identity(fits[0], known[fits[0]], f"its prompt is `{prompt}`")
    answer = console.command("help")
    for name, commands in known.items():
        line = next((line for line in answer if commands.help and re.search(commands.help, line)), None)
        if line is not None:
            return Identity(name, commands, f"its `help` says `{' '.join(line.split())[:60]}`")
    because = f"neither its prompt `{prompt}` nor its `help` shows what it is, so Tina's commands are tried"
    return Identity(_FALLBACK, known[_FALLBACK], because, known=False)


def _known() -> Iterator[tuple[str, ConsoleCommands]]:
    for name in REGISTRY:
        if name in CONFIGURED:
            continue
        dialect = resolve(REGISTRY, name, kind="dialect")
        commands: ConsoleCommands | None = dialect.commands  # type: ignore[attr-defined]  # the registry's promise
        if commands is not None:
            yield name, commands


def is_refused(command: str, answer: Sequence[str]) -> bool:
    """Whether the console says that it does not know the command. Lines of other tasks may stand in the answer."""
    name = command.split(maxsplit=1)[0]
    for line in (line.strip() for line in answer):
        match = _UNKNOWN.search(line[:_LONGEST_REFUSAL])
        if match is not None and (match.start() == 0 or name in line):
            return True
    return False
