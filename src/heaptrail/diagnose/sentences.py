"""The sentences of a report: the headline, what a finding is, and what to do about it.

Each states what was seen, with its figures, before what it means. A name that is unknown is said to be unknown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from heaptrail.units import format_address, format_bytes, format_rate, format_share, plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from heaptrail.model.evidence import Evidence
    from heaptrail.model.report import Finding, Frame, Site
    from heaptrail.model.verdict import SiteClass, Verdict

_SITES_NAMED = 3
"""Sites that a sentence names one by one; more are counted."""


def headline(verdict: Verdict, findings: Sequence[Finding], evidence: Evidence) -> str:
    """The verdict as one sentence."""
    if verdict.verdict == "leak":
        return f"Leak: {_fall(verdict, evidence)}{_culprit(verdict, findings)}."
    if verdict.verdict == "no_leak":
        bound = verdict.upper_bound
        if bound is None:
            return "No leak."
        return (
            f"No leak: the loss is below {format_rate(bound.value)} B per {bound.unit} with "
            f"{format_share(bound.confidence)} confidence, for leaks whose single loss is at most "
            f"{bound.largest_single_loss_bytes:,} B."
        )
    reason = verdict.reasons[0].rstrip(".") if verdict.reasons else "there is too little evidence"
    return f"Inconclusive: {reason[:1].lower()}{reason[1:]}."


def _fall(verdict: Verdict, evidence: Evidence) -> str:
    per_cycle, per_hour = verdict.rate_bytes_per_cycle, verdict.rate_bytes_per_hour
    if per_cycle is not None and per_cycle.estimate is not None and not evidence.samples and evidence.dumps:
        return f"blocks of {format_rate(per_cycle.estimate)} B stay each cycle"
    if per_cycle is not None and per_cycle.estimate is not None:
        return f"free memory falls by {format_rate(per_cycle.estimate)} B per cycle"
    if per_hour is not None and per_hour.estimate is not None:
        return f"free memory falls by {format_rate(per_hour.estimate)} B per hour"
    if not evidence.dumps:
        return "free memory falls" if evidence.samples else "more and more blocks stay"
    step = "dump" if evidence.cycles_from is None else "cycle"
    return f"live blocks grow from {step} to {step}"


def _culprit(verdict: Verdict, findings: Sequence[Finding]) -> str:
    growing = [finding for finding in findings if finding.finding_class in ("leak", "held_until_teardown")]
    sites = [site for finding in growing for site in finding.sites]
    if not sites:
        return "; the site is unknown"
    share = ""
    if verdict.books is not None:
        verb = "explains" if len(sites) == 1 else "explain"
        share = f", which {verb} {format_share(verdict.books.share_explained)} of it"
    if all(site.name is None for site in sites):
        known = "known by address only" if any(site.frames for site in sites) else "without a backtrace"
        return f", lost at {plural(len(sites), 'site')} {known}{share}"
    return f", lost in {_join([_site_label(site) for site in sites])}{share}"


def _site_label(site: Site) -> str:
    if site.name is None:
        return _address_label(site)
    if site.file is None or site.line is None:
        return site.name
    return f"{site.name} ({base_name(site.file)}:{site.line})"


def _address_label(site: Site) -> str:
    """An unnamed site by its backtrace: the innermost frames are usually the allocator, so a few are shown."""
    pcs = list(dict.fromkeys(frame.pc for frame in site.frames))
    if not pcs:
        return "a site without a backtrace"
    return "the site with backtrace " + " < ".join(format_address(pc) for pc in pcs[:_SITES_NAMED])


def base_name(path: str) -> str:
    """The last part of a path written on any system."""
    return path.replace("\\", "/").rsplit("/", 1)[-1]


def _join(labels: Sequence[str]) -> str:
    shown = list(labels[:_SITES_NAMED])
    if len(labels) > _SITES_NAMED:
        return ", ".join(shown) + f" and {plural(len(labels) - _SITES_NAMED, 'more site')}"
    if len(shown) == 1:
        return shown[0]
    return ", ".join(shown[:-1]) + " and " + shown[-1]


def finding_summary(site_class: SiteClass, sites: Sequence[Site], common_caller: Frame | None) -> str:
    """What the finding is, in one sentence."""
    who = _join([_site_label(site) for site in sites])
    each = " each" if len(sites) > 1 else ""
    verb = {
        "leak": "leave" if len(sites) > 1 else "leaves",
        "held_until_teardown": "keep until teardown" if len(sites) > 1 else "keeps until teardown",
    }.get(site_class, "hold" if len(sites) > 1 else "holds")
    what = _what(sites[0])
    reached = "" if common_caller is None else f", reached from {_frame_label(common_caller)}"
    ending = {
        "bounded": ", which does not grow any further",
        "one_time": ", allocated once",
        "in_flight": ", in use at the dump",
        "undecided": "; too little was seen to say whether it grows",
    }.get(site_class, "")
    return f"{who}{each} {verb} {what}{reached}{ending}"


def _what(site: Site) -> str:
    sizes = site.sizes_bytes
    of_size = f" of {format_bytes(sizes[0])} (0x{sizes[0]:x})" if len(sizes) == 1 else ""
    if site.per_cycle_blocks is None:
        return f"{plural(site.live_blocks, 'block')}{of_size or f' of {format_bytes(site.live_bytes)} together'}"
    count = site.per_cycle_blocks
    if count >= 1 and abs(count - round(count)) < 0.05:
        blocks = plural(round(count), "block")
    elif count > 0:
        blocks = f"{count:.2g} blocks"
    else:
        return f"{plural(site.live_blocks, 'block')}{of_size}"
    return f"{blocks}{of_size} per cycle"


def _frame_label(frame: Frame) -> str:
    if frame.file is None or frame.line is None:
        return str(frame.function)
    return f"{frame.function} ({base_name(frame.file)}:{frame.line})"


def finding_advice(site_class: SiteClass, sites: Sequence[Site], *, freed_at_teardown: bool) -> tuple[str, ...]:
    """What to do about a finding; empty for what is innocent."""
    if site_class == "leak":
        first = (
            "The last block goes at teardown and the earlier ones stay: the pointer is probably overwritten by the "
            "next cycle's allocation. Free it before allocating again, or allocate once where its owner is created."
            if freed_at_teardown
            else "Find who should free these blocks: the release belongs to the end of the cycle that allocates them."
        )
        return (first, *_how_to_name(sites))
    if site_class == "held_until_teardown":
        return (
            (
                "Everything is freed at teardown, so tools that look only at exit see no leak, but memory grows with "
                "every cycle until then: free per cycle, or allocate once."
            ),
            *_how_to_name(sites),
        )
    if site_class == "undecided":
        return (
            "Run more cycles, and print the live blocks at two or more moments of the run.",
            *_bound_question(sites),
            *_how_to_name(sites),
        )
    return ()


def _bound_question(sites: Sequence[Site]) -> tuple[str, ...]:
    """Of a site that grows and may be a cache, who wrote it can say how much it may hold; the lines to say it with."""
    growing = [site for site in sites if site.per_cycle_blocks]
    if not growing or not growing[0].frames:
        return ()
    site = growing[0]
    pattern = site.name or format_address(site.frames[0].pc)
    line = f'capacity = [ {{ site = "{pattern}", max_blocks = {2 * max(site.live_blocks, 1)} }} ]'
    return (f"Does it have a bound? If it is a cache or a pool, declare it in heaptrail.toml under [judge]: {line}",)


def _how_to_name(sites: Sequence[Site]) -> tuple[str, ...]:
    if all(site.name is not None for site in sites):
        return ()
    if any(not site.frames for site in sites):
        return ("Site unknown: raise the tracer's backtrace level so that each block carries its callers.",)
    if any(frame.function for site in sites for frame in site.frames):
        return ("Site unknown: the backtrace ends inside the allocator or its wrappers; raise the backtrace level.",)
    return ("Site unknown: give the ELF of this build with --elf to turn the addresses into functions and lines.",)
