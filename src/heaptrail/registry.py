"""Names to objects, resolved when they are asked for.

A package's `__init__` lists its plugins as strings (`"tina": "heaptrail.dialects.tina:Tina"`) and imports none of them,
so `--help` stays fast and a missing optional package breaks one entry only.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from heaptrail.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping


def resolve(registry: Mapping[str, str], name: str, *, kind: str) -> type:
    """The class that `name` stands for.

    Raises:
        UsageError: The name is not in the registry; the message lists those that are.
    """
    target = registry.get(name)
    if target is None:
        known = ", ".join(sorted(registry))
        raise UsageError(f"there is no {kind} named {name!r}", try_this=f"one of: {known}")
    module_name, _, class_name = target.partition(":")
    found = getattr(import_module(module_name), class_name)
    assert isinstance(found, type)
    return found
