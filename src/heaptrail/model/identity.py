"""Which sites are the same in two builds: named by functions, file base names and call chain.

Addresses and lines move with every edit, so neither is part of an identity. Frames of wrappers are left out, since they
say nothing of the place; so are the suffixes that GCC gives to copies of a function (`.constprop.0`). A function that
follows itself counts once, since whether a part of it was inlined into the rest is the compiler's choice.

A site without a single named function is known by its raw addresses, which hold for one build only.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from heaptrail.model.report import Finding, Frame, Site

SiteKey = tuple[str, ...]
"""The call chain, innermost first: `("softvol_ap_update_mode@softvolume.c", "_AudioTrackStart@AudioTrack.c", ...)`."""

_CLONE: Final = re.compile(r"(?:\.(?:constprop|isra|part|cold|lto_priv|localalias|llvm)(?:\.\d+)*)+$")
_NO_STACK: Final = "no stack"


def site_key(site: Site) -> SiteKey:
    """What the site is called in every build. Never empty."""
    outside = [frame for frame in site.frames if not frame.wrapper] or list(site.frames)
    if not has_names(site):
        return tuple(f"0x{frame.pc:x}" for frame in outside) or (_NO_STACK,)
    steps: list[str] = []
    for frame in outside:
        step = _step(frame)
        if not steps or steps[-1] != step:
            steps.append(step)
    return tuple(steps)


def has_names(site: Site) -> bool:
    """Whether the site's identity holds in another build."""
    return any(frame.function is not None for frame in site.frames)


def site_fingerprint(site: Site) -> str:
    """32 hexadecimal digits that stay the same while the call chain does."""
    return _digest([site_key(site)])


def finding_fingerprint(finding: Finding) -> str:
    """The same for a finding: of its sites' call chains, whatever their order."""
    return _digest(sorted({site_key(site) for site in finding.sites}))


def _step(frame: Frame) -> str:
    if frame.function is None:
        return f"?@{frame.module or ''}"
    name = _CLONE.sub("", frame.function)
    return f"{name}@{base_name(frame.file)}" if frame.file else name


def base_name(path: str) -> str:
    """The last part of a path of either kind of system."""
    return path.replace("\\", "/").rsplit("/", 1)[-1]


def _digest(keys: list[SiteKey]) -> str:
    text = "\x1e".join("\x1f".join(key) for key in keys)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
