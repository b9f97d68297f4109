"""Pictures stand in columns by their size."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from maskviz.render.image.canvas import Block, packed


@given(st.lists(st.tuples(st.floats(0.1, 9.0), st.floats(0.1, 9.0)), min_size=1, max_size=12))
def test_packed_blocks_lie_within_the_room_and_on_no_other(sizes: list[tuple[float, float]]) -> None:
    drawn: list[tuple[float, float, float, float]] = []

    def block(width: float, height: float) -> Block:
        return Block(width, height, lambda _, x, y: drawn.append((x, y, x + width, y + height)))

    whole = packed([block(*size) for size in sizes], 10.0, 0.25)
    whole.draw(None, 0.0, 0.0)  # type: ignore[arg-type]
    assert len(drawn) == len(sizes)
    assert whole.width <= 10.0 + 1e-9
    assert whole.height <= sum(height for _, height in sizes) + 0.25 * (len(sizes) - 1) + 1e-9
    for number, (left, top, right, bottom) in enumerate(drawn):
        assert left >= -1e-9
        assert right <= whole.width + 1e-9
        assert bottom <= whole.height + 1e-9
        for other in drawn[:number]:
            apart = right <= other[0] + 1e-9 or other[2] <= left + 1e-9
            assert apart or bottom <= other[1] + 1e-9 or other[3] <= top + 1e-9


def test_a_block_that_makes_a_shelf_no_higher_stands_below_the_first_column_it_fits() -> None:
    drawn: list[tuple[float, float]] = []

    def block(width: float, height: float) -> Block:
        return Block(width, height, lambda _, x, y: drawn.append((x, y)))

    packed([block(4, 1), block(5, 8), block(4, 3)], 10.0, 0.5).draw(None, 0.0, 0.0)  # type: ignore[arg-type]
    assert drawn == [(0.0, 0.0), (0.0, 1.5), (4.5, 0.0)]
