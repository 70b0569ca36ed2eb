"""pytest plugin: `@pytest.mark.limit_leaks(below="10 B/cycle")` and the fixture `leak_hunt`.

Loaded by pytest in every project where heaptrail is installed, so it does next to nothing until a test asks for the
fixture: no imports, one look for the marker at each test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from heaptrail.leaktest import LeakHunt

_MARKER = "limit_leaks"
_HELP = (
    'limit_leaks(below="10 B/cycle", cycles=None, inconclusive="fail"): the test hunts with the fixture leak_hunt, and '
    "fails unless it is shown that less is lost; inconclusive may be `skip` (docs/in-ci.md of heaptrail)"
)


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known, so that `--strict-markers` takes it."""
    config.addinivalue_line("markers", _HELP)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """After a marked test: it must have hunted, or its limit means nothing."""
    result = yield
    if pyfuncitem.get_closest_marker(_MARKER) is not None:
        hunt: LeakHunt | None = pyfuncitem.funcargs.get("leak_hunt")  # type: ignore[assignment]  # the fixture below
        if hunt is None or not hunt.reports:
            pytest.fail("limit_leaks has nothing to judge: call the fixture leak_hunt in this test", pytrace=False)
    return result


@pytest.fixture
def leak_hunt(request: pytest.FixtureRequest, tmp_path: Path) -> LeakHunt:
    """Hunt for a leak on any console: `leak_hunt("heaptrail.toml", console=dut)`. See `heaptrail.leaktest.LeakHunt`."""
    from heaptrail.errors import UsageError  # noqa: PLC0415 - loaded only where it is used
    from heaptrail.leaktest import LeakHunt, Limit  # noqa: PLC0415 - as above

    marker = request.node.get_closest_marker(_MARKER)
    try:
        limit = Limit(*marker.args, **marker.kwargs) if marker is not None else None
    except (TypeError, UsageError) as error:
        pytest.fail(f"limit_leaks cannot be read: {error}\nit is {_HELP}", pytrace=False)
    option = request.config.option
    beside = getattr(option, "htmlpath", None) or getattr(option, "xmlpath", None)
    folder = request.config.invocation_params.dir.joinpath(beside).parent if beside else tmp_path
    return LeakHunt(name=request.node.name, root=request.path.parent, work=tmp_path, left=folder, limit=limit)
