"""`heaptrail list`: what this version can read, write and connect to."""

from __future__ import annotations

import sys
import textwrap
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from heaptrail.dialects import ConsoleCommands
    from heaptrail.reports import Renderer

_WIDTH = 100


def list_command(
    what: Annotated[Literal["dialects", "reports", "transports"], typer.Argument(help="Which list.")],
) -> None:
    """List the dialects (with a sample line and the firmware options they need), reports or transports."""
    entries = {"dialects": _dialects, "reports": _reports, "transports": _transports}[what]()
    sys.stdout.write("\n".join(entries) + "\n")


def _summary(plugin: type) -> str:
    """The first paragraph of the class docstring."""
    return " ".join((plugin.__doc__ or "").strip().split("\n\n")[0].split())


def _entry(name: str, summary: str, **facts: str) -> str:
    """A name with its summary, and facts below it, each under its heading."""
    lines = [f"{name}: {summary}"]
    for heading, fact in facts.items():
        head = f"  {heading.replace('_', ' '):<8} "
        lines += textwrap.wrap(fact, _WIDTH, initial_indent=head, subsequent_indent=" " * len(head))
    return "\n".join(lines)


def _dialects() -> Iterator[str]:
    from heaptrail.dialects import REGISTRY, Dialect
    from heaptrail.registry import resolve

    for name in REGISTRY:
        dialect: type[Dialect] = resolve(REGISTRY, name, kind="dialect")
        yield _entry(
            name,
            _summary(dialect),
            sample=dialect.sample_line,
            needs=dialect.firmware_options,
            tells=dialect.tells,
            not_told=dialect.cannot_tell,
            hunt=_typed(dialect.commands),
        )


def _typed(commands: ConsoleCommands | None) -> str:
    """What `hunt` types on such a console."""
    if commands is None:
        return "no commands known; name the firmware's own in [target.commands]"
    listing = commands.since or commands.peek
    typed = [commands.sample, commands.arm, listing, commands.collect if commands.collect != commands.peek else None]
    shown = ", ".join(f"`{command}`" for command in typed if command is not None)
    return f"types {shown.replace('{moment}', 'N')}"


def _reports() -> Iterator[str]:
    from heaptrail.registry import resolve
    from heaptrail.reports import REGISTRY

    for name in REGISTRY:
        renderer: type[Renderer] = resolve(REGISTRY, name, kind="report format")
        yield _entry(name, _summary(renderer), files=" ".join(renderer.suffixes))


def _transports() -> Iterator[str]:
    from heaptrail.registry import resolve
    from heaptrail.transports import REGISTRY

    for name in REGISTRY:
        yield _entry(name, _summary(resolve(REGISTRY, name, kind="transport")))
