"""From addresses to functions and lines. Unknown is a value here, never an exception."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from heaptrail.model.observations import RawFrame
    from heaptrail.model.report import Frame, ImageInfo, SourceExcerpt
    from heaptrail.symbols.fit import ImageFit


class Callers(NamedTuple):
    """A backtrace, checked. `kept` is a part of what was printed, in its order, and so is `stale`."""

    kept: tuple[RawFrame, ...]
    stale: tuple[RawFrame, ...] = ()


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

    def callers(self, stack: tuple[RawFrame, ...]) -> Callers:
        """A backtrace without the frames that are certainly no callers of the one before."""
        ...

    def resolve_stack(self, stack: tuple[RawFrame, ...]) -> tuple[Frame, ...]:
        """The functions of a whole backtrace, with those put back that left no frame (`inferred`)."""
        ...

    @property
    def remarks(self) -> tuple[str, ...]:
        """Sentences about the ELF that a reader of the report must know."""
        ...

    def fit(self, frames: Iterable[RawFrame]) -> ImageFit | None:
        """How well the ELF fits the addresses of a capture; None without an ELF."""
        ...

    def excerpt(self, file: str, line: int) -> SourceExcerpt | None:
        """Source lines around `line`, where the file is at hand on this machine."""
        ...


class NoSymbols:
    """The symbolizer of a run without an ELF: every frame is its raw address."""

    image: ImageInfo | None = None
    remarks: tuple[str, ...] = ()

    def resolve(self, raw: RawFrame) -> tuple[Frame, ...]:
        """One frame that knows its address only."""
        from heaptrail.model.report import Frame  # noqa: PLC0415 - only the type is needed above

        return (Frame(pc=raw.pc, kind=raw.kind),)

    def callers(self, stack: tuple[RawFrame, ...]) -> Callers:
        """The backtrace as it is: nothing can be checked."""
        return Callers(stack)

    def resolve_stack(self, stack: tuple[RawFrame, ...]) -> tuple[Frame, ...]:
        """Each frame's own."""
        return tuple(frame for raw in stack for frame in self.resolve(raw))

    def fit(self, frames: Iterable[RawFrame]) -> ImageFit | None:  # noqa: ARG002 - the protocol's signature
        """None: there is nothing to fit to."""
        return None

    def excerpt(self, file: str, line: int) -> SourceExcerpt | None:  # noqa: ARG002 - the protocol's signature
        """None: there is no line to show."""
        return None


class FakeSymbolizer(NoSymbols):
    """A symbolizer for tests and examples: a table from raw PC to frames, no file behind it."""

    def __init__(self, table: dict[int, tuple[Frame, ...]], *, image: ImageInfo | None = None) -> None:
        self._table = table
        self.image = image

    def resolve(self, raw: RawFrame) -> tuple[Frame, ...]:
        """The table's frames, or one unknown frame."""
        return self._table.get(raw.pc) or super().resolve(raw)

    def fit(self, frames: Iterable[RawFrame]) -> ImageFit | None:
        """Addresses in the table are inside, all others outside; whether they are calls cannot be told."""
        from heaptrail.symbols.fit import ImageFit  # noqa: PLC0415 - only fakes need it here

        asked = {frame.pc for frame in frames}
        outside = sorted(asked - self._table.keys())
        return ImageFit(
            inside=len(asked) - len(outside), outside=len(outside), example_outside=outside[0] if outside else None
        )


def distinct_frames(stacks: Iterable[tuple[RawFrame, ...]]) -> frozenset[RawFrame]:
    """Every different raw frame of many stacks: what a symbolizer is asked once each."""
    return frozenset(frame for stack in stacks for frame in stack)
