"""Zones of a raster: which cells lie in polygons, and statistics of the cells of each zone.

Coordinates are in pixels: column = x, row = y, the centre of cell (r, c) is (c + 0.5, r + 0.5). Cells of zones are
**runs**: (zone, row, first column, end column), sorted by zone. ``weights`` hold one weight per cell of the runs in
the same order, or are empty where every cell counts as one.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def polygon_runs(xs, ys, rings, zones, n_zones, height, width):
    """Runs of the cells whose centre lies in a polygon or on its edge, by even-odd scan conversion.

    Parameters
    ----------
    xs, ys : float64 (n,), vertices of all rings, closed, in pixels of the window of ``height`` x ``width`` cells
    rings : int64 (m + 1,), where the vertices of each ring begin
    zones : int64 (m,), the zone of each ring, ascending; all rings of a zone together bound its area (holes included)

    Returns
    -------
    int64 array (runs, 4): zone, row, first column, end column; runs of a zone do not overlap.
    """
    most = 0
    for ring in range(len(zones)):
        for i in range(rings[ring], rings[ring + 1] - 1):
            low, high = min(ys[i], ys[i + 1]), max(ys[i], ys[i + 1])
            top, bottom = max(np.ceil(low - 0.5), 0.0), min(np.floor(high - 0.5), height - 1.0)
            if bottom >= top:
                most += int(bottom - top) + 3
    out = np.empty((most, 4), np.int64)
    count = 0
    first = 0
    while first < len(zones):
        last = first
        while last < len(zones) and zones[last] == zones[first]:
            last += 1
        count = _zone_runs(xs, ys, rings, first, last, zones[first], height, width, out, count)
        first = last
    return out[:count]


@njit(nogil=True, cache=True)
def _zone_runs(xs, ys, rings, first, last, zone, height, width, out, count):
    """Append the runs of the rings ``first`` to ``last`` to ``out``; the new number of runs."""
    low, high = np.inf, -np.inf
    for i in range(rings[first], rings[last]):
        low, high = min(low, ys[i]), max(high, ys[i])
    top, bottom = max(np.ceil(low - 0.5), 0.0), min(np.floor(high - 0.5), height - 1.0)
    if not bottom >= top:
        return count
    r0 = int(top)
    n = int(bottom) - r0 + 1
    # per row: crossings of edges with the row's centre line, and pieces of edges that lie on it
    crossings = np.zeros(n + 1, np.int64)
    touches = np.zeros(n + 1, np.int64)
    for ring in range(first, last):
        for i in range(rings[ring], rings[ring + 1] - 1):
            y1, y2 = ys[i], ys[i + 1]
            a, b = max(np.ceil(min(y1, y2) - 0.5), top), min(np.ceil(max(y1, y2) - 0.5), bottom + 1)
            for r in range(int(a), int(b)):
                crossings[r - r0 + 1] += 1
            if y1 - 0.5 == np.floor(y1 - 0.5) and top <= y1 - 0.5 <= bottom:
                touches[int(y1 - 0.5) - r0 + 1] += 1
    crossings, touches = np.cumsum(crossings), np.cumsum(touches)
    at = np.empty(crossings[-1], np.float64)
    edge_low, edge_high = np.empty(touches[-1], np.float64), np.empty(touches[-1], np.float64)
    used, used_touches = crossings.copy(), touches.copy()
    for ring in range(first, last):
        for i in range(rings[ring], rings[ring + 1] - 1):
            x1, y1, x2, y2 = xs[i], ys[i], xs[i + 1], ys[i + 1]
            a, b = max(np.ceil(min(y1, y2) - 0.5), top), min(np.ceil(max(y1, y2) - 0.5), bottom + 1)
            for r in range(int(a), int(b)):
                k = r - r0
                at[used[k]] = x1 + (r + 0.5 - y1) * (x2 - x1) / (y2 - y1)
                used[k] += 1
            if y1 - 0.5 == np.floor(y1 - 0.5) and top <= y1 - 0.5 <= bottom:
                k = int(y1 - 0.5) - r0
                edge_low[used_touches[k]] = min(x1, x2) if y1 == y2 else x1
                edge_high[used_touches[k]] = max(x1, x2) if y1 == y2 else x1
                used_touches[k] += 1
    for k in range(n):
        pairs = np.sort(at[crossings[k] : crossings[k + 1]])
        extra = touches[k + 1] - touches[k]
        lows = np.empty(len(pairs) // 2 + extra, np.float64)
        highs = np.empty(len(lows), np.float64)
        for j in range(len(pairs) // 2):
            lows[j], highs[j] = pairs[2 * j], pairs[2 * j + 1]
        for j in range(extra):
            lows[len(pairs) // 2 + j] = edge_low[touches[k] + j]
            highs[len(pairs) // 2 + j] = edge_high[touches[k] + j]
        done = 0.0  # columns before this one are taken
        for j in np.argsort(lows):
            begin = max(np.ceil(lows[j] - 0.5), done)
            end = min(np.floor(highs[j] - 0.5) + 1, float(width))
            if end > begin:
                if (
                    count > 0
                    and out[count - 1, 0] == zone
                    and out[count - 1, 1] == r0 + k
                    and out[count - 1, 3] == begin
                ):
                    out[count - 1, 3] = int(end)
                else:
                    out[count, 0], out[count, 1], out[count, 2], out[count, 3] = zone, r0 + k, int(begin), int(end)
                    count += 1
                done = end
    return count


@njit(nogil=True, cache=True)
def zone_totals(runs, weights, n_zones):
    """Cells (or weight) of each zone, with or without a value: float64 (n_zones,)."""
    total = np.zeros(n_zones, np.float64)
    k = 0
    for r in range(len(runs)):
        n = runs[r, 3] - runs[r, 2]
        if len(weights):
            for _ in range(n):
                total[runs[r, 0]] += weights[k]
                k += 1
        else:
            total[runs[r, 0]] += n
    return total


@njit(nogil=True, cache=True)
def zone_sums(values, runs, weights, n_zones):
    """Valid cells and sum of values (weighted) of (planes, rows, columns): two float64 arrays (planes, n_zones)."""
    planes = len(values)
    count, total = np.zeros((planes, n_zones), np.float64), np.zeros((planes, n_zones), np.float64)
    for p in range(planes):
        k = 0
        for r in range(len(runs)):
            row = values[p, runs[r, 1], runs[r, 2] : runs[r, 3]]
            n, s = 0.0, 0.0
            if len(weights):
                for i in range(len(row)):
                    v = np.float64(row[i])
                    if v == v:
                        n += weights[k]
                        s += v * weights[k]
                    k += 1
            else:
                for i in range(len(row)):
                    v = np.float64(row[i])
                    valid = v == v
                    n += 1.0 if valid else 0.0
                    s += v if valid else 0.0
            count[p, runs[r, 0]] += n
            total[p, runs[r, 0]] += s
    return count, total


@njit(nogil=True, cache=True)
def zone_products(values, runs, weights, n_zones):
    """Valid cells and product of values (each to the power of its weight)."""
    planes = len(values)
    count, total = np.zeros((planes, n_zones), np.float64), np.ones((planes, n_zones), np.float64)
    for p in range(planes):
        k = 0
        for r in range(len(runs)):
            zone = runs[r, 0]
            row = values[p, runs[r, 1], runs[r, 2] : runs[r, 3]]
            for i in range(len(row)):
                v = np.float64(row[i])
                w = weights[k] if len(weights) else 1.0
                k += 1
                if v == v:
                    count[p, zone] += w
                    total[p, zone] *= v if w == 1.0 else v**w
    return count, total


@njit(nogil=True, cache=True)
def zone_extremes(values, runs, weights, n_zones, sign):
    """Valid cells and largest (``sign`` 1) or smallest (-1) value; NaN where there is none. Weights only count."""
    planes = len(values)
    count, best = np.zeros((planes, n_zones), np.float64), np.full((planes, n_zones), -np.inf, np.float64)
    for p in range(planes):
        k = 0
        for r in range(len(runs)):
            row = values[p, runs[r, 1], runs[r, 2] : runs[r, 3]]
            n, top = 0.0, -np.inf
            for i in range(len(row)):
                v = np.float64(row[i]) * sign
                w = weights[k] if len(weights) else 1.0
                k += 1
                if v == v:
                    n += w
                    top = max(top, v)
            count[p, runs[r, 0]] += n
            best[p, runs[r, 0]] = max(best[p, runs[r, 0]], top)
    for p in range(planes):
        for z in range(n_zones):
            best[p, z] = best[p, z] * sign if count[p, z] > 0 else np.nan
    return count, best


@njit(nogil=True, cache=True)
def zone_moments(values, runs, weights, n_zones):
    """Valid cells, mean and sum of squared deviations from it (weighted), in two passes."""
    count, mean = zone_sums(values, runs, weights, n_zones)
    planes = len(values)
    squares = np.zeros((planes, n_zones), np.float64)
    for p in range(planes):
        for z in range(n_zones):
            mean[p, z] = mean[p, z] / count[p, z] if count[p, z] > 0 else 0.0
        k = 0
        for r in range(len(runs)):
            centre = mean[p, runs[r, 0]]
            row = values[p, runs[r, 1], runs[r, 2] : runs[r, 3]]
            s = 0.0
            for i in range(len(row)):
                d = np.float64(row[i]) - centre
                w = weights[k] if len(weights) else 1.0
                k += 1
                if d == d:
                    s += w * d * d
            squares[p, runs[r, 0]] += s
    return count, mean, squares
