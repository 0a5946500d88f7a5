"""A date fades in over some distance from what it does not see, instead of starting at full weight.

Where a cloud mask or a swath ends, the set of dates that make up the mean changes from one pixel to the next, and just
outside a mask thin cloud and shadow are likely. The distance-to-cloud weight of WASP works on cells of 240 m and hardly
sees small clouds; here the distance is measured on cells of 20 m.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from processes.kernels.wasp_rims import apply_fade, fade_cells, mark_cells

CELL = 20.0  # metres


@dataclass(frozen=True)
class RimGrid:
    """Cells of ``step`` pixels over an image of ``height`` x ``width`` pixels; weights rise over ``reach`` cells."""

    height: int
    width: int
    step: int
    reach: float

    @classmethod
    def of(cls, height: int, width: int, resolution: float, fade: float) -> RimGrid | None:
        """For pixels of ``resolution`` and a rise over ``fade``, metres; None where that is less than one cell."""
        step = max(round(CELL / resolution), 1)
        reach = fade / (step * resolution)
        return cls(height, width, step, reach) if reach >= 1 else None

    @property
    def shape(self) -> tuple[int, int]:
        return -(-self.height // self.step), -(-self.width // self.step)

    @property
    def packed_shape(self) -> tuple[int, int]:
        """Shape of `pack`'s result: eight cells to a byte."""
        return self.shape[0], -(-self.shape[1] // 8)

    def start(self) -> np.ndarray:
        """Cells of one date, none of them unseen yet: bool, `shape`."""
        return np.zeros(self.shape, bool)

    def add(self, unseen: np.ndarray, y0: int, x0: int, cells: np.ndarray) -> None:
        """Mark what a block (h, w) bool, whose first pixel is (y0, x0), does not see."""
        mark_cells(unseen, y0, x0, self.step, cells)

    @staticmethod
    def pack(cells: np.ndarray) -> np.ndarray:
        """Cells (..., rows, columns) as bits along the last axis, uint8: a tile is 3.8 MB per date."""
        return np.packbits(cells, axis=-1)

    def fade(self, packed: np.ndarray, y0: int, x0: int, weight: np.ndarray) -> None:
        """Lower ``weight`` (h, w) float32, whose first pixel is (y0, x0), near the unseen cells of its date, in place."""
        halo = int(np.ceil(self.reach)) + 2
        rows, cols = self.shape
        top, left = max(y0 // self.step - halo, 0), max(x0 // self.step - halo, 0) // 8 * 8
        bottom = min((y0 + weight.shape[0] - 1) // self.step + halo + 1, rows)
        right = min((x0 + weight.shape[1] - 1) // self.step + halo + 1, cols)
        bits = np.unpackbits(packed[top:bottom, left // 8 : -(-right // 8)], axis=1)[:, : right - left]
        if bits.any():
            apply_fade(fade_cells(bits, self.reach), top, left, y0, x0, self.step, weight)
