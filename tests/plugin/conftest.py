"""The rig packages change pytest and pyserial, so their tests are collected only where they are: `make test-rigs`."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore = [] if find_spec("pytest_embedded_serial") and find_spec("labgrid") else ["test_rig_packages.py"]
