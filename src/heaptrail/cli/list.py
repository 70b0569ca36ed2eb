"""`heaptrail list`: what this version can read, write and connect to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from rich.table import Table


def list_command(
    what: Annotated[Literal["dialects", "reports", "transports"], typer.Argument(help="Which list.")],
) -> None:
    """List the dialects (with a sample line and the firmware options they need), reports or transports."""
    from rich.console import Console

    console = Console()
    tables = {"dialects": _dialects, "reports": _reports, "transports": _transports}
    console.print(tables[what]())


def _table(*headers: str) -> Table:
    from rich.table import Table

    return Table(*headers, box=None, pad_edge=False, show_lines=False, leading=1)


def _summary(plugin: type) -> str:
    return (plugin.__doc__ or "").strip().splitlines()[0]


def _dialects() -> Table:
    from rich.text import Text

    from heaptrail.dialects import REGISTRY
    from heaptrail.registry import resolve

    table = _table("dialect", "reads", "needs in the firmware", "tells")
    for name in REGISTRY:
        dialect = resolve(REGISTRY, name, kind="dialect")
        reads = f"{_summary(dialect)}\n{dialect.sample_line}"  # type: ignore[attr-defined]
        tells = f"{dialect.tells}\nNot: {dialect.cannot_tell}"  # type: ignore[attr-defined]
        table.add_row(name, Text(reads), Text(dialect.firmware_options), Text(tells))  # type: ignore[attr-defined]
    return table


def _reports() -> Table:
    from heaptrail.registry import resolve
    from heaptrail.reports import REGISTRY, Renderer

    table = _table("format", "suffix", "what it is")
    for name in REGISTRY:
        renderer: type[Renderer] = resolve(REGISTRY, name, kind="report format")
        table.add_row(name, " ".join(renderer.suffixes), _summary(renderer))
    return table


def _transports() -> Table:
    from heaptrail.registry import resolve
    from heaptrail.transports import REGISTRY

    table = _table("transport", "what it is")
    for name in REGISTRY:
        table.add_row(name, _summary(resolve(REGISTRY, name, kind="transport")))
    return table
