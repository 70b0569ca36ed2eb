"""From addresses to functions and lines. Unknown is a value here, never an exception."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from heaptrail.model.observations import RawFrame
    from heaptrail.model.report import Frame, ImageInfo, SourceExcerpt


class Symbolizer(Protocol):
    """Resolves raw frames. `image` is None where there is no ELF at all."""

    @property
    def image(self) -> ImageInfo | None:
        """The ELF behind it."""
        ...

    def resolve(self, raw: RawFrame) -> tuple[Frame, ...]:
        """The functions at a raw frame, innermost inlined one first.

        There is always at least one, with `function` None where nothing is known (`module` then names the nearest
        section).
        """
        ...

    def executable(self, pc: int) -> bool | None:
        """Whether `pc` lies in an executable section; None without an ELF."""
        ...

    def excerpt(self, file: str, line: int) -> SourceExcerpt | None:
        """Source lines around `line`, where the file is at hand on this machine."""
        ...


class NoSymbols:
    """The symbolizer of a run without an ELF: every frame is its raw address."""

    image = None

    def resolve(self, raw: RawFrame) -> tuple[Frame, ...]:
        """One frame that knows its address only."""
        from heaptrail.model.report import Frame  # noqa: PLC0415 - only the type is needed above

        return (Frame(pc=raw.pc, kind=raw.kind),)

    def executable(self, pc: int) -> bool | None:  # noqa: ARG002 - the protocol's signature
        """Unknown."""
        return None

    def excerpt(self, file: str, line: int) -> SourceExcerpt | None:  # noqa: ARG002 - the protocol's signature
        """None: there is no line to show."""
        return None


class FakeSymbolizer(NoSymbols):
    """A symbolizer for tests and examples: a table from raw PC to frames, no file behind it."""

    def __init__(self, table: dict[int, tuple[Frame, ...]], *, image: ImageInfo | None = None) -> None:
        self._table = table
        self.image = image  # type: ignore[assignment]  # NoSymbols pins it to None

    def resolve(self, raw: RawFrame) -> tuple[Frame, ...]:
        """The table's frames, or one unknown frame."""
        return self._table.get(raw.pc) or super().resolve(raw)

    def executable(self, pc: int) -> bool | None:
        """True for the addresses in the table."""
        return pc in self._table


def distinct_frames(stacks: Iterable[tuple[RawFrame, ...]]) -> frozenset[RawFrame]:
    """Every different raw frame of many stacks: what a symbolizer is asked once each."""
    return frozenset(frame for stack in stacks for frame in stack)
