"""Numbers as a person reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaptrail.units import format_rate


@pytest.mark.parametrize(
    ("rate", "shown"), [(7_696.4, "7,696"), (12.6, "13"), (9.96, "10.0"), (0.44, "0.4"), (0.034, "0.03"), (0.0, "0.0")]
)
def test_a_rate_is_as_exact_as_it_matters(rate: float, shown: str) -> None:
    assert format_rate(rate) == shown


@given(st.floats(min_value=1e-9, max_value=1e9))
def test_a_loss_never_shows_as_none(rate: float) -> None:
    assert float(format_rate(rate).replace(",", "")) > 0
