"""Continue a synthesis of cubes: what was saved after some dates, and a cube with later ones.

    cube, state = continue_synthesis(june_first_half, date="2024-06-15")
    save_state(state, "june.npz")
    cube, state = continue_synthesis(june_second_half, load_state("june.npz"))

The result is `wasp_synthesis` of one cube with all the dates, digit by digit.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date as Date
from typing import Any

import numpy as np
import xarray as xr

from processes import cube as cubes
from processes.errors import ProcessError, parameter_invalid
from processes.wasp import chain
from processes.wasp.composite import Options
from processes.wasp.cube_blocks import LAYERS, Layout, Work, aot_of, as_bands, prepare, weights_of
from processes.wasp.process import days_of, resolution_of, scales_of
from processes.wasp.rims import RimGrid
from processes.wasp.state import SynthesisState
from processes.wasp.weights import CoarseGrid, coarse_step


def continue_synthesis(
    data: xr.DataArray,
    state: SynthesisState | None = None,
    date: str | None = None,
    *,
    sensor_weights: Mapping[str, float] | None = None,
    **parameters: Any,
) -> tuple[xr.DataArray, SynthesisState]:
    """Add the dates of a cube to a synthesis.

    Parameters
    ----------
    data
        Cube as `wasp_synthesis` takes it, held in memory while it is added; dates outside the window are left out.
    state
        The synthesis so far, changed in place; None begins a new one.
    date, parameters
        Of a new synthesis, as `wasp_synthesis` has them (one date; ``half_window``, ``brdf``, ``robust``, ``level``,
        ``weights``); not allowed with a state, which has its own.

    Returns
    -------
    The synthesis of all dates so far, as `wasp_synthesis` returns it, and the state.

    Raises
    ------
    ProcessError
        ``ProcessParameterInvalid`` for a cube of other bands or another grid, a date that is there already, or parameters
        beside a state; ``NoDataAvailable`` where no date of the cube lies in the window.
    """
    t, bands, (y, x) = cubes.temporal_dim(data), cubes.bands_dim(data), cubes.spatial_dims(data)
    data = data.transpose(t, bands, y, x)
    layout, days, grid = Layout.of(data, bands), days_of(data, t), _grid(data, y, x)
    shape = data.sizes[y], data.sizes[x]
    if state is None:
        (synthesis,) = chain.parse_dates(date, days)
        options = Options.of(**parameters)
        state = SynthesisState(synthesis, options, layout.reflectance, shape, layout.blue, layout.nir, grid)
    elif date is not None or parameters:
        raise parameter_invalid("state", "a synthesis that is continued keeps its date and parameters; leave them out.")
    if (state.bands, state.shape, state.grid) != (layout.reflectance, shape, grid):
        raise parameter_invalid(
            "data", "the cube has other bands or another grid than the synthesis that it continues."
        )
    inside = [i for i, day in enumerate(days) if state.options.takes(day, state.synthesis)]
    if not inside:
        half = state.options.half_window
        raise ProcessError("NoDataAvailable", f"The cube has no date within {half} days of {state.synthesis}.")
    resolution, options = resolution_of(data, y, x), state.options
    coarse = CoarseGrid(shape[0], shape[1], coarse_step(resolution, options.weighting), options.mode)
    rims = RimGrid.of(shape[0], shape[1], resolution, options.weighting.edge_fade)
    for i in inside:
        own = data.isel({t: [i]})
        scales = scales_of(own, t, [days[i]], state.synthesis, options, sensor_weights or {})
        work = Work(layout, (1, *shape), coarse, rims, (days[i],), state.synthesis, options, tuple(scales))
        _add(state, days[i], str(cubes.labels(data, t)[i]), np.asarray(own.values, np.float32), work)
    made = as_bands(state.result(), state.synthesis, options)
    label = np.datetime64(state.synthesis.isoformat(), "ns")
    coords = {t: [label], bands: [*layout.reflectance, *LAYERS], y: data.coords[y], x: data.coords[x]}
    info = {k: v for k, v in data.attrs.get("band_info", {}).items() if k in layout.reflectance}
    result = xr.DataArray(made, dims=(t, bands, y, x), coords=coords)
    return cubes.like(result, data, band_info=info), state


def _add(state: SynthesisState, day: Date, name: str, values: np.ndarray, work: Work) -> None:
    """One date (1, bands, h, w) into the state."""
    offsets = (0, 0, 0, 0)
    fields = work.cloud_fields([work.cloud_part(values, offsets)])
    unseen = np.zeros((1, 1, 1), np.uint8)
    if work.rims is not None:
        unseen = work.unseen_cells([work.unseen_part(values, offsets)])
    dn, cls, _ = prepare(values, work.layout, work.options)
    aot = aot_of(values, work.layout)
    weight = weights_of(aot, np.moveaxis(fields, 0, 1), unseen, (0, 0), work)
    state.add(day, dn[0], cls[0], weight[0], aot[0], name)


def _grid(data: xr.DataArray, y: str, x: str) -> str:
    """CRS and the outermost pixel centres of a cube, as text."""
    corners = [float(data.coords[d].values[k]) for d in (x, y) for k in (0, -1)]
    return f"{cubes.crs_of(data)} {' '.join(repr(c) for c in corners)}"
