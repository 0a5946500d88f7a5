"""Loops of the merging of resolutions (factor 2): degrade, compare, interpolate the difference, add.

All of them are "valid" filters: what they return needs no pixel outside the arrays they are given, so that a block with its
halo gives the pixels of the whole image.
"""

from __future__ import annotations

import numpy as np
from numba import njit

REACH = 2  # coarse pixels that the cubic interpolation needs around a block

# cubic convolution (Keys 1981, a = -1/2) a quarter of a pixel to the right of the second tap
_NEAR = (np.float32(-0.0703125), np.float32(0.8671875), np.float32(0.2265625), np.float32(-0.0234375))


@njit(nogil=True, cache=True)
def mix_bands(high, weights, out):
    """Weighted sum over bands: high (B, h, w) float32, weights (B,) float32, out (h, w) float32."""
    for y in range(out.shape[0]):
        row = out[y]
        row[:] = np.float32(0.0)
        for b in range(high.shape[0]):
            source, weight = high[b, y], weights[b]
            for x in range(row.size):
                row[x] += weight * source[x]


@njit(nogil=True, cache=True)
def degrade(fine, taps, out):
    """Low-pass and take every second pixel: fine (2 h + n - 2, 2 w + n - 2), taps (n,) with n even, out (h, w), float32."""
    n = taps.size
    line = np.empty(fine.shape[1], np.float32)
    for i in range(out.shape[0]):
        line[:] = np.float32(0.0)
        for k in range(n):
            source, tap = fine[2 * i + k], taps[k]
            for x in range(line.size):
                line[x] += tap * source[x]
        row = out[i]
        row[:] = np.float32(0.0)
        for k in range(n):
            tap = taps[k]
            for j in range(row.size):
                row[j] += tap * line[2 * j + k]


@njit(nogil=True, cache=True)
def add_doubled(coarse, out):
    """Interpolate ``coarse`` (h + 4, w + 4) to twice the resolution and add it to ``out`` (2 h, 2 w), float32."""
    a, b, c, d = _NEAR
    width = coarse.shape[1]
    line = np.empty(width, np.float32)
    for y in range(out.shape[0]):
        i, odd = y // 2, y % 2
        r0, r1, r2, r3 = coarse[i + odd], coarse[i + 1 + odd], coarse[i + 2 + odd], coarse[i + 3 + odd]
        if odd:
            for x in range(width):
                line[x] = a * r0[x] + b * r1[x] + c * r2[x] + d * r3[x]
        else:
            for x in range(width):
                line[x] = d * r0[x] + c * r1[x] + b * r2[x] + a * r3[x]
        row = out[y]
        for j in range(width - 4):
            row[2 * j] += d * line[j] + c * line[j + 1] + b * line[j + 2] + a * line[j + 3]
            row[2 * j + 1] += a * line[j + 1] + b * line[j + 2] + c * line[j + 3] + d * line[j + 4]
