"""Block functions that give a dimension other labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from processes import cube as cubes
from processes.blocks import map_blocks

_HIDDEN = "__new__"  # a name no cube has, so that the new dimension cannot meet the old one


def map_along(
    function: Callable[[np.ndarray], np.ndarray],
    data: xr.DataArray,
    dimension: str,
    labels: Any,
    kind: str,
    dtype: Any,
    target: str | None = None,
) -> xr.DataArray:
    """The cube with ``function`` applied to blocks that hold all of ``dimension`` (their first axis).

    Parameters
    ----------
    function : block (n, ...) -> block (len(labels), ...)
    labels : of the dimension afterwards
    kind : its type afterwards
    target : its name afterwards, by default the same
    """
    target = target or dimension
    out = map_blocks(function, data, core=[dimension], out_core={_HIDDEN: len(labels)}, dtype=dtype)
    out = out.drop_vars([dimension, target], errors="ignore").rename({_HIDDEN: target})
    out = out.transpose(*(target if d == dimension else d for d in data.dims))
    return cubes.like(out.assign_coords({target: labels}), data, dims={target: kind})
