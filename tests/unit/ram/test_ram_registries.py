"""A heap layout or a kernel is one file and one registry line; whoever forgets the line is told."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import heaptrail.ram
from heaptrail.ram import HEAPS, KERNELS
from heaptrail.registry import resolve

PACKAGE = Path(heaptrail.ram.__file__).parent


@pytest.mark.parametrize(("registry", "name"), [(registry, name) for registry in (HEAPS, KERNELS) for name in registry])
def test_a_registered_layout_or_kernel_loads_under_its_name(registry: dict[str, str], name: str) -> None:
    found = resolve(registry, name, kind="layout")

    assert found.name == name  # type: ignore[attr-defined]  # the protocol's
    assert len((found.__doc__ or "").splitlines()[0]) > 10


@pytest.mark.parametrize(("folder", "registry"), [("heaps", HEAPS), ("kernels", KERNELS)])
def test_every_class_with_a_recogniser_is_registered(folder: str, registry: dict[str, str]) -> None:
    for path in sorted((PACKAGE / folder).glob("*.py")):
        if path.stem == "__init__":
            continue
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and any(
                isinstance(item, ast.FunctionDef) and item.name == "recognise" for item in node.body
            ):
                target = f"heaptrail.ram.{folder}.{path.stem}:{node.name}"
                assert target in registry.values(), f"add {target!r} to the registry in ram/__init__.py"
