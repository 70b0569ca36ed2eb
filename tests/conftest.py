"""What every test has: goldens that `pytest --accept` rewrites (read the diff first), and no skips in CI."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

Golden = Callable[[Path, str], bool]

# A busy machine makes no test fail: neither an example nor the drawing of it is timed.
settings.register_profile("heaptrail", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("heaptrail")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--accept", action="store_true", help="write what the program prints now into the golden files")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """Compare a text with a golden file: `assert golden(path, text)`. It fails by itself, with the difference."""
    accept = bool(request.config.getoption("--accept"))

    def compare(path: Path, text: str) -> bool:
        if accept:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            return True
        assert path.exists(), f"there is no golden file {path}: run pytest --accept and read what it wrote"
        expected = path.read_text(encoding="utf-8")
        if text != expected:
            diff = difflib.unified_diff(expected.splitlines(), text.splitlines(), "golden", "now", lineterm="", n=2)
            shown = "\n".join(list(diff)[:80])
            pytest.fail(f"{path.name} differs; pytest --accept if it is right now:\n{shown}", pytrace=False)
        return True

    return compare


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where everything must run (CI sets HEAPTRAIL_NO_SKIP), a skipped test is a failed one."""
    report = yield
    if report.skipped and os.environ.get("HEAPTRAIL_NO_SKIP"):
        report.outcome = "failed"
        report.longrepr = f"skipped, though HEAPTRAIL_NO_SKIP is set: {report.longrepr}"
    return report
