"""Is a backtrace a chain of calls? Words that are no callers are taken out, calls that leave no trace are put back.

A tracer that scans the stack takes each word that follows a call instruction, so it also takes what earlier calls left
there. The ELF can tell: frame i must call the function of frame i-1, by its call's target, through a pointer, or by way
of functions that end by jumping on (tail calls). Three rules keep real callers in:

- Frames go only where the chain breaks before and behind them, and where leaving them out joins two frames of which
  one certainly calls the other. Where nothing joins it again (an interrupt, code without frame pointers), all stay.
- What the ELF cannot tell counts as a call: no symbol, no size, ARM code, a jump through a register, an overlay.
- Among several ways through a backtrace the one that leaves out least is taken.

On ARM, where no compiler keeps a chain of frames, every backtrace may be a scan, and more goes: what could be a caller
but leads nowhere, what a call through a pointer makes needless, and the rest behind a function that only calls reach,
when none of it calls that function.

A function that ends by jumping leaves no frame. Where DWARF's call sites show exactly one way of jumps from the
function that is called to the one that runs, its functions are put back between the two; gdb does the same.
"""

from __future__ import annotations

from enum import IntEnum
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from heaptrail.model.observations import RawFrame
from heaptrail.symbols import Callers
from heaptrail.symbols.callgraph import CallGraph
from heaptrail.symbols.callsite import OTHER, RULES, clean_address

if TYPE_CHECKING:
    from heaptrail.symbols.branches import Branch
    from heaptrail.symbols.elf import ElfImage

_MOST_FRAMES = 64
_LEFT_OUT = 2
_HARDLY = 8
_BROKEN = 1_000
_LONGEST_WAY = 8
"""Tail calls in a row that are followed; code that needs more is a loop."""


class Link(IntEnum):
    """Whether one frame calls the function of another."""

    NO = 0
    HARDLY = 1
    """Through a pointer, but no pointer to that function is in sight."""
    MAYBE = 2
    """Through a pointer that may hold it."""
    UNKNOWN = 3
    YES = 4
    """By its call's target, or by jumps from there."""


class _Site(NamedTuple):
    """What is known of one frame: the function that it lies in, and the call there."""

    function: int | None
    call: Branch | None


class Chains:
    """Checks backtraces against one ELF.

    Args:
        image: The ELF with the code.
        debug: Where its debug information is, the ELF itself or a file of its own.
        region: See `heaptrail.symbols.callsite.clean_address`.
    """

    def __init__(self, image: ElfImage, debug: ElfImage, *, region: int) -> None:
        self._image = image
        self._debug = debug
        self._region = region
        self._scans = image.arch == "arm"
        self._sites: dict[RawFrame, _Site] = {}
        self._tails: dict[int, tuple[int, ...]] = {}

    @cached_property
    def _graph(self) -> CallGraph:
        return CallGraph(self._image, self._image.symbols if len(self._image.symbols) else self._debug.symbols)

    def check(self, stack: tuple[RawFrame, ...]) -> Callers:
        """The frames of `stack` without those that are certainly no callers."""
        if len(stack) > _MOST_FRAMES or all(self._plain(stack[i], stack[i + 1]) for i in range(len(stack) - 1)):
            return Callers(stack)
        if not self._graph.knows_jumps:
            return Callers(stack)
        links = [[self._link(stack[inner], stack[outer]) for outer in range(len(stack))] for inner in range(len(stack))]
        if all(links[i][i + 1] in (Link.YES, Link.UNKNOWN) for i in range(len(stack) - 1)):
            return Callers(stack)
        way = self._best_way(stack, links)
        kept = set(way)
        return Callers(tuple(stack[i] for i in way), tuple(frame for i, frame in enumerate(stack) if i not in kept))

    def between(self, inner: RawFrame, outer: RawFrame) -> tuple[RawFrame, ...]:
        """The jumps that lead from what `outer` calls to the function of `inner`, innermost first.

        Empty where `outer` calls it directly, and where there is no way that DWARF shows, or more than one.
        """
        function, call = self._site(inner).function, self._site(outer).call
        called = self._graph.function_at(call.target) if call is not None else None
        if function is None or called is None or called == function:
            return ()
        ways = self._ways(called, function)
        return tuple(RawFrame(start, "call") for start in reversed(ways[0])) if len(ways) == 1 else ()

    # --- one frame and another

    def _site(self, raw: RawFrame) -> _Site:
        site = self._sites.get(raw)
        if site is None:
            address = clean_address(raw.pc, self._image.arch, region=self._region)
            call = self._call(address, raw)
            inside = address if raw.kind == "call" else address - RULES.get(self._image.arch, OTHER).lower_by
            function = self._graph.function_at(call.start if call else inside)
            # Without a function the code may be ARM's, or data: what was read as a call means nothing.
            site = self._sites[raw] = _Site(function, call if function is not None else None)
        return site

    def _call(self, address: int, raw: RawFrame) -> Branch | None:
        """The call at a frame; None where none, or more than one, may be meant."""
        rule = RULES.get(self._image.arch, OTHER)
        if raw.kind == "return":
            branch = self._graph.branch_ending_at(address)
            return branch if branch is not None and branch.links else None
        found = []
        for step in rule.ends_after:
            branch = self._graph.branch_ending_at(address + step)
            # A tracer tells where the call begins, or, where calls cannot be read backwards, its last byte.
            if branch is not None and branch.links and (branch.start == address or rule.lower_by == step == 1):
                found.append(branch)
        return found[0] if len(found) == 1 else None

    def _plain(self, inner: RawFrame, outer: RawFrame) -> bool:
        """Whether a direct call, or nothing that is known, joins two frames: no other code needs to be read for it."""
        function, call = self._site(inner).function, self._site(outer).call
        if function is None or call is None:
            return True
        return call.target is not None and self._graph.function_at(call.target) in (function, None)

    def _link(self, inner: RawFrame, outer: RawFrame) -> Link:
        function, call = self._site(inner).function, self._site(outer).call
        if function is None or call is None:
            return Link.UNKNOWN
        pointed = Link.MAYBE if self._graph.named_by_address(function) else Link.HARDLY
        if call.target is None:
            return pointed
        called = self._graph.function_at(call.target)
        if called is None:
            return Link.UNKNOWN
        reach = self._graph.reach(called)
        if function in reach.functions:
            return Link.YES
        return pointed if reach.anywhere else Link.NO

    # --- the whole chain

    def _best_way(self, stack: tuple[RawFrame, ...], links: list[list[Link]]) -> tuple[int, ...]:
        """Places of the frames that stay: the way from the innermost frame that costs least.

        Of two that cost the same, the one that stays inside longer: what calls left lies in arrays of callers.
        """
        ways: list[tuple[float, tuple[int, ...]]] = [(0.0, (0,))]
        for outer in range(1, len(stack)):
            ways.append(min((ways[i][0] + self._cost(links, i, outer), (*ways[i][1], outer)) for i in range(outer)))
        ends = [i for i in range(len(stack)) if self._may_end(stack, links, i)]
        return min((ways[i][0] + _LEFT_OUT * (len(stack) - 1 - i), ways[i][1]) for i in ends)[1]

    def _cost(self, links: list[list[Link]], inner: int, outer: int) -> float:
        """Of going from one frame to another; infinite where what lies between must stay."""
        link, left_out = links[inner][outer], outer - inner - 1
        if link is Link.NO:
            return float("inf") if left_out else _BROKEN
        if left_out:
            broken = links[inner][inner + 1] is Link.NO and links[outer - 1][outer] is Link.NO
            joins = link is not Link.UNKNOWN if self._scans else broken and link is Link.YES
            if not joins:
                return float("inf")
        return _LEFT_OUT * left_out + (_HARDLY if link is Link.HARDLY else 0)

    def _may_end(self, stack: tuple[RawFrame, ...], links: list[list[Link]], last: int) -> bool:
        """Whether everything outside the frame `last` may go."""
        if last == len(stack) - 1:
            return True
        if not self._scans or any(link is not Link.NO for link in links[last][last + 1 :]):
            return False
        function = self._site(stack[last]).function
        if function is None:
            return False
        by_hardware = self._graph.entered_by_hardware(function)
        return self._graph.called(function) if by_hardware is None else not by_hardware

    # --- tail calls

    def _ways(self, start: int, goal: int) -> list[tuple[int, ...]]:
        """Up to two ways of tail calls from one function to another, as the addresses of the jumps."""
        found: list[tuple[int, ...]] = []
        due: list[tuple[int, tuple[int, ...], frozenset[int]]] = [(start, (), frozenset((start,)))]
        while due and len(found) < 2:
            function, way, seen = due.pop()
            for jump in self._tail_calls(function):
                target = self._graph.function_at(jump.target)
                if target == goal:
                    found.append((*way, jump.start))
                elif target is not None and target not in seen and len(way) < _LONGEST_WAY:
                    due.append((target, (*way, jump.start), seen | {target}))
        return found

    def _tail_calls(self, function: int) -> list[Branch]:
        """The jumps by which a function ends, as DWARF tells them."""
        if function not in self._tails:
            behind = self._debug.tail_calls(function)
            mine = [end for end in behind if self._graph.function_at(end - 1) == function]
            self._tails[function] = tuple(mine)
        found = [self._graph.branch_ending_at(end) for end in self._tails[function]]
        return [branch for branch in found if branch is not None and not branch.links]
