"""Walk the trees of a random forest: samples in, sums of leaf values out."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def forest_values(samples, roots, feature, threshold, left, right, values):
    """Mean over the trees of the values of the leaves that samples fall into.

    Parameters
    ----------
    samples : float32 (n, features), finite
    roots : int64 (trees,), index of each tree's first node
    feature : int32 (nodes,), feature a node looks at; -1 in leaves
    threshold : float64 (nodes,); a sample goes left where its value is not greater
    left, right : int32 (nodes,), indices of the children
    values : float64 (nodes, outputs): class probabilities, or the one value of a regression

    Returns
    -------
    float64 (n, outputs)
    """
    count, outputs, trees = len(samples), values.shape[1], len(roots)
    out = np.zeros((count, outputs), np.float64)
    # tree by tree: one tree stays in the cache while all samples walk it; sums in the order in which scikit-learn adds
    for t in range(trees):
        for s in range(count):
            node = roots[t]
            while feature[node] >= 0:
                node = left[node] if np.float64(samples[s, feature[node]]) <= threshold[node] else right[node]
            for k in range(outputs):
                out[s, k] += values[node, k]
    out /= trees
    return out
