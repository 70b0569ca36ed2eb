"""Several ELFs of one device, such as boot loader, application and ROM: each address is looked up in its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from heaptrail.symbols import Callers
from heaptrail.symbols.fit import ImageFit
from heaptrail.units import format_address, plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from heaptrail.model.observations import RawFrame
    from heaptrail.model.report import Frame, ImageInfo, SourceExcerpt
    from heaptrail.symbols.lines import ElfSymbolizer


class SeveralImages:
    """Satisfies `heaptrail.symbols.Symbolizer`.

    Args:
        symbolizers: One for each ELF, the program that ran first: it counts where more than one covers an address, and
            its word size and build id are the report's.
    """

    def __init__(self, symbolizers: Sequence[ElfSymbolizer]) -> None:
        self._all = tuple(symbolizers)
        self._shared: dict[int, tuple[str, ...]] = {}

    @property
    def image(self) -> ImageInfo:
        """The first ELF's facts, under the names of all."""
        images = [each.image for each in self._all]
        return msgspec.structs.replace(images[0], name=" + ".join(image.name for image in images))

    @property
    def remarks(self) -> tuple[str, ...]:
        """Those of all, and what lies in the code of more than one."""
        found = [remark for each in self._all for remark in each.remarks]
        if self._shared:
            address, names = min(self._shared.items())
            found.append(
                f"{plural(len(self._shared), 'address')} (the first is {format_address(address)}) in the code of "
                f"{' and '.join(names)}: looked up in {names[0]}, the first given"
            )
        return tuple(found)

    def _of(self, raw: RawFrame) -> ElfSymbolizer:
        covering = [each for each in self._all if each.covers(raw)]
        if len(covering) > 1:
            self._shared[raw.pc] = tuple(each.image.name for each in covering)
        return covering[0] if covering else self._all[0]

    def resolve(self, raw: RawFrame) -> tuple[Frame, ...]:
        """The functions at a raw frame, in the ELF that covers it."""
        return self._of(raw).resolve(raw)

    def callers(self, stack: tuple[RawFrame, ...]) -> Callers:
        """A backtrace within one ELF is checked; over several of them what calls what is not known."""
        mine = {self._of(raw) for raw in stack}
        return mine.pop().callers(stack) if len(mine) == 1 else Callers(stack)

    def resolve_stack(self, stack: tuple[RawFrame, ...]) -> tuple[Frame, ...]:
        """The functions of a whole backtrace, each in its own ELF."""
        mine = {self._of(raw) for raw in stack}
        if len(mine) == 1:
            return mine.pop().resolve_stack(stack)
        return tuple(frame for raw in stack for frame in self.resolve(raw))

    def fit(self, frames: Iterable[RawFrame]) -> ImageFit:
        """How well all of them together fit the addresses of a capture."""
        groups: dict[ElfSymbolizer, list[RawFrame]] = {each: [] for each in self._all}
        for raw in set(frames):
            groups[self._of(raw)].append(raw)
        fits = [each.fit(mine) for each, mine in groups.items()]
        outside = [fit.example_outside for fit in fits if fit.example_outside is not None]
        not_calls = [fit.example_not_call for fit in fits if fit.example_not_call is not None]
        return ImageFit(
            inside=sum(fit.inside for fit in fits),
            outside=sum(fit.outside for fit in fits),
            example_outside=min(outside, default=None),
            calls=sum(fit.calls for fit in fits),
            not_calls=sum(fit.not_calls for fit in fits),
            example_not_call=min(not_calls, default=None),
        )

    def excerpt(self, file: str, line: int) -> SourceExcerpt | None:
        """Source lines around `line`; where sources are does not depend on the ELF."""
        return self._all[0].excerpt(file, line)
