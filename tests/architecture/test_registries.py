"""A plugin is one file plus one registry line. Whoever forgets a step is told which one."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import pytest

from heaptrail import dialects, reports, transports
from heaptrail.cli import COMMANDS
from heaptrail.registry import resolve

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "heaptrail"
REGISTRIES = {"dialects": dialects.REGISTRY, "reports": reports.REGISTRY, "transports": transports.REGISTRY}
PLUGINS = [(kind, name) for kind, registry in REGISTRIES.items() for name in registry]


@pytest.mark.parametrize(("kind", "name"), PLUGINS)
def test_a_registered_plugin_loads_and_says_what_it_is(kind: str, name: str) -> None:
    plugin = resolve(REGISTRIES[kind], name, kind=kind)

    first_line = (plugin.__doc__ or "").strip().splitlines()[0]
    assert 10 < len(first_line) <= 100, f"give {plugin.__name__} a docstring whose first line says what it is"


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, name in PLUGINS if kind in ("dialects", "reports")])
def test_a_plugin_has_its_registry_name_and_goldens(kind: str, name: str) -> None:
    plugin = resolve(REGISTRIES[kind], name, kind=kind)

    assert plugin.name == name  # type: ignore[attr-defined]
    folder = ROOT / "tests" / "golden" / kind / name
    assert any(folder.iterdir()), f"add a golden file for {name} under tests/golden/{kind}/{name}"


@pytest.mark.parametrize("kind", REGISTRIES)
def test_every_class_that_satisfies_the_protocol_is_registered(kind: str) -> None:
    """A file whose class has the protocol's marker attribute is a plugin; it must stand in the registry."""
    marker = {"dialects": "triggers", "reports": "suffixes", "transports": "from_target"}[kind]
    registered = set(REGISTRIES[kind].values())
    for path in sorted((PACKAGE / kind).glob("*.py")):
        if path.stem == "__init__":
            continue
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and marker in _names_in(node):
                target = f"heaptrail.{kind}.{path.stem}:{node.name}"
                assert target in registered, f"add {target!r} to REGISTRY in {kind}/__init__.py"


def _names_in(node: ast.ClassDef) -> set[str]:
    names = set()
    for item in node.body:
        if isinstance(item, ast.FunctionDef):
            names.add(item.name)
        elif isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            names.add(item.target.id)
        elif isinstance(item, ast.Assign):
            names.update(target.id for target in item.targets if isinstance(target, ast.Name))
    return names


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_help(name: str) -> None:
    command = getattr(import_module(f"heaptrail.cli.{name}"), f"{name}_command")

    assert command.__doc__
