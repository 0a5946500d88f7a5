"""Where positions fall in a window: against the definition, position by position."""

from __future__ import annotations

import numpy as np
import pytest

from processes.kernels.grid import cells_of

EDGE = 1e-6


@pytest.mark.parametrize("reduced", [False, True])
@pytest.mark.parametrize("reach", [(-5, 60), (10, 20), (70, 90)])
def test_cells(reduced: bool, reach: tuple[int, int]) -> None:
    rng = np.random.default_rng(reach[1])
    size, held, ratio, shift = (50, 40), (50, 40), (1.0, 1.0), (0.0, 0.0)
    if reduced:
        held, ratio, shift = (13, 10), (50 / 13, 4.0), (-1.4, 0.5)
    sx, sy = rng.uniform(*reach, (2, 30, 20))
    sx[rng.random(sx.shape) < 0.1] = np.nan
    sy[rng.random(sx.shape) < 0.1] = np.inf
    sx[0] = np.rint(sx[0]) - EDGE / 2  # on the edge: the next pixel's
    wanted = np.full(sx.shape, -1, "i8")
    picked = {}
    for at in np.ndindex(sx.shape):
        x, y = sx[at], sy[at]
        if not (np.isfinite(x) and np.isfinite(y) and 0 <= x + EDGE < size[1] and 0 <= y + EDGE < size[0]):
            continue
        row, col = (int(np.floor((v - o) / k + EDGE)) for v, o, k in zip((y, x), shift, ratio))
        picked[at] = min(max(row, 0), held[0] - 1), min(max(col, 0), held[1] - 1)
    cells = np.empty(sx.shape, "i8")
    each, none = np.arange(len(sx)), np.zeros(len(sx))
    found, top, bottom, left, right = cells_of(sx, sy, each, none, size, reduced, held, ratio, shift, EDGE, cells)
    assert found == len(picked) and (found == 0) == (reach[0] > 50)
    if found:
        rows, cols = np.array(list(picked.values())).T
        assert (top, bottom, left, right) == (rows.min(), rows.max(), cols.min(), cols.max())
        for at, (row, col) in picked.items():
            wanted[at] = (row - top) * (right - left + 1) + col - left
    assert (cells == wanted).all()


def test_cells_between_rows() -> None:
    sx, sy = np.mgrid[0:30:4.0, 0:30:5.0][::-1]
    low, share = np.array([0, 0, 3, 6]), np.array([0.0, 0.25, 0.5, 0.75])
    x, y = (v[low] * (1 - share)[:, None] + v[low + 1] * share[:, None] for v in (sx, sy))
    wanted, cells = np.empty((2, *x.shape), "i8")
    more: tuple[object, ...] = ((28, 20), False, (28, 20), (1.0, 1.0), (0.0, 0.0), EDGE)
    expected = cells_of(x, y, np.arange(4), np.zeros(4), *more, wanted)
    assert cells_of(sx, sy, low, share, *more, cells) == expected
    assert (cells == wanted).all() and 0 < (cells < 0).sum() < cells.size
