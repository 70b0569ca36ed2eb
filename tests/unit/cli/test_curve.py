"""The curve in characters."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from heaptrail.cli.curve import dotted_curve

POINTS = st.lists(st.tuples(st.floats(0, 1e6), st.floats(-1e9, 1e9)), max_size=50).map(sorted)


def test_a_fall_goes_from_the_upper_left_to_the_lower_right() -> None:
    assert dotted_curve([(0, 100), (1, 0)], 3, 2) == ["⠁⠀⠀", "⠀⠀⢀"]


def test_what_does_not_change_is_a_line_in_the_middle() -> None:
    assert dotted_curve([(0, 5), (2, 5)], 2, 1) == ["⠂⠐"]


@given(POINTS, st.integers(1, 80), st.integers(1, 20))
def test_any_points_fit_the_size(points: list[tuple[float, float]], columns: int, rows: int) -> None:
    lines = dotted_curve(points, columns, rows)

    assert [len(line) for line in lines] == [columns] * rows
    dots = sum((ord(cell) - 0x2800).bit_count() for line in lines for cell in line)
    assert dots <= len(points)
    assert bool(dots) == bool(points)
