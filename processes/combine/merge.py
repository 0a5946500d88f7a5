"""`merge_cubes`: two cubes become one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from processes import cube as cubes
from processes.blocks import is_lazy, map_blocks
from processes.callback import Callback
from processes.demand import Demand
from processes.errors import ProcessError
from processes.probe import answer, decode, decoded_dtype
from processes.registry import process
from processes.resample.grids import grids_of, offset, same_grid, same_lattice
from processes.resample.spatial import grown
from processes.resample.warp import warp


def merge_demand(args: Mapping[str, Any], demand: Demand) -> dict[str, Demand]:
    """Area and dates are wanted of both, of the second with the margin of its resampling; which bands is not known."""
    first = demand.with_(bands=None)
    return {"cube1": first, "cube2": first.with_(geometries=None, box=grown(demand.box), buffer=demand.buffer + 2)}


@process(demand=merge_demand)
def merge_cubes(
    cube1: xr.DataArray, cube2: xr.DataArray, overlap_resolver: Callback | None = None, context: Any = None
) -> xr.DataArray:
    """One cube with the labels of both. Where both have a value ``overlap_resolver(x, y, context)`` decides.

    - A dimension that one cube lacks is broadcast: its values meet all of the other's labels.
    - ``cube2`` is resampled (nearest) onto the grid of ``cube1`` where the grids do not continue each other.
    - Pixels that neither cube has are nodata. Time ascends, x and y keep their direction; other labels of ``cube2``
      follow those of ``cube1``.

    Raises ``OverlapResolverMissing``, ``IncompatibleDataCubes``, ``IncompatibleGeometryTypes``.
    """
    for d in set(cube1.dims) & set(cube2.dims):
        if cubes.kind_of(cube1, str(d)) != cubes.kind_of(cube2, str(d)):
            raise ProcessError("IncompatibleDataCubes", f"Dimension '{d}' is of different types in the two cubes.")
    _check_geometries(cube1, cube2)
    cube1, cube2 = _aligned(cube1, cube2)
    cube1, cube2 = _one_nodata(cube1, cube2)
    shared = [str(d) for d in cube1.dims if d in cube2.dims]
    one, two = (cube2, cube1) if cube2.ndim > cube1.ndim else (cube1, cube2)
    order = [*one.dims, *(d for d in two.dims if d not in one.dims)]
    plans = [_plan(cube1, cube2, d) for d in shared]
    overlaps = all(p.both for p in plans)
    if overlaps and overlap_resolver is None:
        raise ProcessError(
            "OverlapResolverMissing",
            "Both cubes have values for the same labels; give an 'overlap_resolver', or filter or rename labels.",
        )
    dtype = np.result_type(cube1.dtype, cube2.dtype)
    if overlaps and overlap_resolver is not None:
        dtype = np.result_type(
            *([] if _complete(plans) else [dtype]), _resolved_dtype(cube1, cube2, overlap_resolver, context)
        )
    if _has_holes(plans) and dtype.kind != "f" and cube1.attrs.get("nodata") is None:
        dtype = np.result_type(dtype, "f4")
    job = _Merge(overlap_resolver, context, dtype, cube1.attrs.get("nodata"), tuple(order))
    merged = job.merge(cube1, cube2, [p for p in plans if not p.equal])
    return _described(merged, cube1, cube2, dtype)


def _check_geometries(cube1: xr.DataArray, cube2: xr.DataArray) -> None:
    """Vector cubes merge with vector cubes of the same base type (a multi type is of the base type of its parts)."""
    types = []
    for data in (cube1, cube2):
        names = cubes.dims_of(data, cubes.GEOMETRY)
        found = {g.geom_type.removeprefix("Multi") for n in names for g in data.coords[n].values if g is not None}
        types.append((bool(names), found - {"GeometryCollection"}))
    (vector1, types1), (vector2, types2) = types
    if vector1 != vector2:
        raise ProcessError(
            "IncompatibleDataCubes",
            "A vector cube and a raster cube cannot be merged; aggregate the raster cube first.",
        )
    if len(types1 | types2) > 1:
        raise ProcessError(
            "IncompatibleGeometryTypes",
            f"The cubes hold {', '.join(sorted(types1 | types2))}; geometries of one base type only can be merged.",
        )


def _aligned(cube1: xr.DataArray, cube2: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """``cube2`` on the lattice of ``cube1``; its coordinates on that lattice are exactly those ``cube1`` has."""
    axes = [cubes.dim_of(cube1, cubes.Y), cubes.dim_of(cube1, cubes.X)]
    if None in axes or not all(d in cube2.dims for d in axes):
        return cube1, cube2
    y, x = str(axes[0]), str(axes[1])
    source, target = grids_of(cube2, cube1)
    if not same_grid(source, target) and not same_lattice(source, target):
        cube2 = warp(cube2, source, target)
        source = target
    row, col = offset(target, source)
    for d, first in ((y, row), (x, col)):
        own = cube1.coords[d].values
        step = (own[-1] - own[0]) / (len(own) - 1) if len(own) > 1 else _step(cube2.coords[d].values)
        index = np.arange(cube2.sizes[d]) + first
        inside = (index >= 0) & (index < len(own))
        exact = own[0] + index * step
        exact[inside] = own[index[inside]]
        cube2 = cube2.assign_coords({d: exact})
    return cube1, cube2


def _step(values: np.ndarray) -> float:
    return float(values[1] - values[0]) if len(values) > 1 else 1.0


def _one_nodata(cube1: xr.DataArray, cube2: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Integer cubes stay as they are if they share a fill value; otherwise nodata becomes NaN in both."""
    one, two = cube1.attrs.get("nodata"), cube2.attrs.get("nodata")
    if cube1.dtype.kind in "iub" and cube2.dtype.kind in "iub" and one == two:
        return cube1, cube2
    return decoded(cube1), decoded(cube2)


def decoded(data: xr.DataArray) -> xr.DataArray:
    """The cube with NaN for its fill value; as it is where it has none."""
    nodata, dtype = data.attrs.get("nodata"), decoded_dtype(data)
    if nodata is None or dtype == data.dtype:
        return data
    out = map_blocks(lambda block: decode(block, nodata), data, dtype=dtype)
    out.attrs.pop("nodata", None)
    return out


@dataclass(frozen=True)
class _Plan:
    """How the labels of one shared dimension combine; positions of the labels in each cube."""

    dimension: str
    only1: list[int]
    both: list[tuple[int, int]]
    only2: list[int]
    labels: list[Any]  # of the result, in its order
    order: list[int]  # positions in only1 + both + only2 that give it
    equal: bool


def _plan(cube1: xr.DataArray, cube2: xr.DataArray, dimension: str) -> _Plan:
    first, second = cubes.labels(cube1, dimension), cubes.labels(cube2, dimension)
    at = {v: i for i, v in enumerate(second)}
    known = {v: i for i, v in enumerate(first)}
    only1 = [i for i, v in enumerate(first) if v not in at]
    both = [(i, at[v]) for i, v in enumerate(first) if v in at]
    only2 = [i for i, v in enumerate(second) if v not in known]
    pieces = [*(first[i] for i in only1), *(first[i] for i, _ in both), *(second[i] for i in only2)]
    union = [*first, *(second[i] for i in only2)]
    if only2:
        kind = cubes.kind_of(cube1, dimension)
        comparable = len({type(v) for v in union}) == 1
        if kind in (cubes.TEMPORAL, cubes.X, cubes.Y) and comparable:
            union = sorted(union, reverse=kind == cubes.Y and not (len(first) > 1 and first[1] > first[0]))
    where = {v: i for i, v in enumerate(pieces)}
    return _Plan(dimension, only1, both, only2, union, [where[v] for v in union], first == second)


def _complete(plans: list[_Plan]) -> bool:
    """Whether every value of the result comes out of the resolver."""
    return not any(p.only1 or p.only2 for p in plans)


def _has_holes(plans: list[_Plan]) -> bool:
    """Whether some pixels of the result are in neither cube: one cube's own labels of two dimensions cross."""
    return sum(bool(p.only1) for p in plans) + sum(bool(p.only2) for p in plans) > 1 and any(
        p.only1 and q.only2 for p in plans for q in plans if p is not q
    )


def _resolved_dtype(cube1: xr.DataArray, cube2: xr.DataArray, resolver: Callback, context: Any) -> np.dtype:
    """dtype of the resolver's results, found on pixels of ones and NaN."""
    x, y = np.ones(4, decoded_dtype(cube1)), np.ones(4, decoded_dtype(cube2))
    if x.dtype.kind == "f":
        x[1::2] = np.nan
    if y.dtype.kind == "f":
        y[2:] = np.nan
    return answer(resolver(x=x, y=y, context=context), (4,)).dtype


@dataclass(frozen=True)
class _Merge:
    resolver: Callback | None
    context: Any
    dtype: np.dtype
    nodata: float | None
    order: tuple[Any, ...]

    def merge(self, one: xr.DataArray, two: xr.DataArray, plans: list[_Plan]) -> xr.DataArray:
        """Merge cubes whose shared labels are equal but along ``plans``: cut along the first one, and go on inside.

        Only what both cubes hold goes through the resolver; what one cube holds is copied, what none holds is filled.
        """
        if not plans:
            return self.resolve(one, two)
        plan, rest = plans[0], plans[1:]
        d = plan.dimension
        parts = []
        if plan.only1:
            parts.append(self.alone(one.isel({d: plan.only1}), two, rest, first=True))
        if plan.both:
            i, j = [p[0] for p in plan.both], [p[1] for p in plan.both]
            parts.append(self.merge(_take(one, d, i), _take(two, d, j), rest))
        if plan.only2:
            parts.append(self.alone(two.isel({d: plan.only2}), one, rest, first=False))
        merged = xr.concat(
            [p.drop_vars([c for c in p.coords if c not in p.dims]) for p in parts],
            dim=d,
            coords="minimal",
            compat="override",
            join="override",
            combine_attrs="override",
        )
        return _take(merged, d, plan.order).assign_coords({d: plan.labels})

    def resolve(self, one: xr.DataArray, two: xr.DataArray) -> xr.DataArray:
        nodata, resolver, context, dtype = self.nodata, self.resolver, self.context, self.dtype
        if resolver is None:  # pragma: no cover - merge_cubes has checked
            raise ProcessError("OverlapResolverMissing", "Both cubes have values for the same labels.")

        def on_block(x: np.ndarray, y: np.ndarray) -> np.ndarray:
            x, y = np.broadcast_arrays(decode(x, nodata), decode(y, nodata))
            out = answer(resolver(x=x, y=y, context=context), x.shape)
            if nodata is not None and dtype.kind in "iu" and out.dtype.kind == "f":
                out = np.where(np.isnan(out), nodata, out)
            return out

        one, two = one.drop_vars("spatial_ref", errors="ignore"), two.drop_vars("spatial_ref", errors="ignore")
        return map_blocks(on_block, one, two, dtype=self.dtype, join="override").transpose(*self.order)

    def alone(self, data: xr.DataArray, other: xr.DataArray, rest: list[_Plan], *, first: bool) -> xr.DataArray:
        """What one cube holds, on the labels of the result: other dimensions are filled where it has none."""
        nodata, dtype = self.nodata, self.dtype

        def convert(block: np.ndarray) -> np.ndarray:
            return (decode(block, nodata) if dtype.kind == "f" else block).astype(dtype, copy=False)

        out = map_blocks(convert, data, dtype=dtype) if data.dtype != dtype else data
        for plan in rest:
            own = [*(plan.only1 if first else []), *(p[0 if first else 1] for p in plan.both)]
            own += [] if first else plan.only2
            missing = len(plan.labels) - len(own)
            pieces = _take(out, plan.dimension, own)
            if missing:
                pieces = self._padded(pieces, plan.dimension, missing, before=not first)
            out = _take(pieces, plan.dimension, plan.order).assign_coords({plan.dimension: plan.labels})
        absent = [d for d in self.order if d not in out.dims]
        if absent:
            out = out.expand_dims({d: cubes.labels(other, str(d)) for d in absent})
        return out.transpose(*self.order)

    def _padded(self, data: xr.DataArray, dimension: str, count: int, *, before: bool) -> xr.DataArray:
        shape = tuple(count if d == dimension else n for d, n in data.sizes.items())
        fill = self.nodata if self.dtype.kind in "iu" and self.nodata is not None else np.nan
        if is_lazy(data):
            chunks = tuple((count,) if d == dimension else data.chunksizes[d] for d in data.dims)
            values: Any = da.full(shape, fill, dtype=self.dtype, chunks=chunks)
        else:
            values = np.full(shape, fill, self.dtype)
        axis = data.get_axis_num(dimension)
        both = [values, data.data] if before else [data.data, values]
        joined = da.concatenate(both, axis) if is_lazy(data) else np.concatenate(both, axis)
        coords = {k: c for k, c in data.coords.items() if dimension not in c.dims}
        return xr.DataArray(joined, dims=data.dims, coords=coords, attrs=data.attrs)


def _take(data: xr.DataArray, dimension: str, index: list[int]) -> xr.DataArray:
    """``isel`` that leaves the array alone where the index is "all, in order" and slices where it can."""
    if index == list(range(data.sizes[dimension])):
        return data
    if index and index == list(range(index[0], index[-1] + 1)):
        return data.isel({dimension: slice(index[0], index[-1] + 1)})
    return data.isel({dimension: np.array(index, int)})


def _described(merged: xr.DataArray, cube1: xr.DataArray, cube2: xr.DataArray, dtype: np.dtype) -> xr.DataArray:
    """Metadata of both cubes; those of the first where they differ."""
    out = merged.copy(deep=False)
    out.attrs = {}
    for source in (cube1, cube2):
        for d in out.dims:
            if d not in out.coords and d in source.coords:
                out = out.assign_coords({d: source.coords[d].values})
        for name, extra_coordinate in source.coords.items():  # properties of features, along labels that stayed
            along = extra_coordinate.dims
            if name in out.coords or len(along) != 1 or along[0] not in out.dims:
                continue
            if cubes.labels(source, str(along[0])) == cubes.labels(out, str(along[0])):
                out = out.assign_coords({name: extra_coordinate.variable})
    info = {**cube2.attrs.get("band_info", {}), **cube1.attrs.get("band_info", {})}
    origin = list(dict.fromkeys([*cube1.attrs.get("derived_from", []), *cube2.attrs.get("derived_from", [])]))
    kinds = {**cubes.kinds(cube2), **cubes.kinds(cube1)}
    extra: dict[str, Any] = {"dims": {str(d): kinds[str(d)] for d in out.dims}}
    if info:
        extra["band_info"] = info
    if origin:
        extra["derived_from"] = origin
    out = cubes.like(out, cube1 if cubes.crs_of(cube1) is not None else cube2, **extra)
    nodata = cube1.attrs.get("nodata")
    if nodata is None or dtype.kind not in "iu":
        out.attrs.pop("nodata", None)
    else:
        out.attrs["nodata"] = nodata
    return out
