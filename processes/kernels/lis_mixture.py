"""Posterior mean of the snow fraction over a table of green and SWIR (see `processes.lis.mixture`)."""

from __future__ import annotations

import math

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def posterior_mean(green, ratio, fractions, parts, out):
    """Mean of the fraction given green and SWIR, percent.

    Parameters
    ----------
    green : float64 (n,), reflectance per column; ratio : float64 (m,), SWIR over green per row
    fractions : float64 (k,)
    parts : float64 (k, components, 6): expected green and SWIR, factors of xx, xy, yy in the logarithm of the density, its constant
    out : uint8 (m, n), written
    """
    k, components = parts.shape[0], parts.shape[1]
    logs = np.empty((k, components))
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            top = -np.inf
            for n in range(k):
                for c in range(components):
                    p = parts[n, c]
                    x, y = green[j] - p[0], green[j] * ratio[i] - p[1]
                    logs[n, c] = p[2] * x * x + p[3] * x * y + p[4] * y * y + p[5]
                    top = max(top, logs[n, c])
            total, moment = 0.0, 0.0
            for n in range(k):
                for c in range(components):
                    if logs[n, c] > top - 20:  # what is left out weighs less than 1e-7
                        w = math.exp(logs[n, c] - top)
                        total += w
                        moment += w * fractions[n]
            out[i, j] = int(100 * moment / total + 0.5)
