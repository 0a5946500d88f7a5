"""`wasp_synthesis`: the openEO process and the plain function, on cubes.

On collections the graph runs the chain on products (`processes.wasp.chain`); any other cube goes through here, on its
own extent and grid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date as Date
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from processes import blocks
from processes import cube as cubes
from processes.env import Env
from processes.errors import ProcessError, parameter_invalid
from processes.registry import process
from processes.wasp import chain
from processes.wasp.composite import EPOCH, NODATA, Block, Options, Result, classify, guide_of, synthesise
from processes.wasp.directional import factor
from processes.wasp.sources import CLM_ANY, LANDSAT, MG2_SNOW, MG2_WATER, VENUS
from processes.wasp.weights import CoarseGrid, aerosol_weight, coarse_step, date_weight

ANGLES = ("SZA", "SAA", "VZA", "VAA")
NO_REFLECTANCE = {
    "CLM", "MG2", "EDG", "SAT", "SCL", "AOT", "WVC", "CLOUD", "CLOUD_SHADOW", "CIRRUS", "SNOW", "WATER", "VALID", *ANGLES,
}  # fmt: skip
NIR = ("B08", "B8A")  # what holds the near infrared where the cube does not say
LAYERS = ("FLG", "WGT", "DTS", "NCL")


@process()
def wasp_synthesis(
    data: xr.DataArray,
    date: str | Sequence[str] | None = None,
    half_window: int | None = None,
    mode: str | None = "plus",
    brdf: str | None = None,
    robust: bool | None = None,
    weights: Mapping[str, float] | None = None,
    sensor_weights: Mapping[str, float] | None = None,
    *,
    env: Env | None = None,
) -> xr.DataArray:
    """Cloud-free synthesis of surface reflectance around one or more dates.

    Parameters
    ----------
    data
        Cube with dimensions t, bands, y, x: surface reflectance (0..1, NaN for none), a cloud mask (``CLM``, or ``CLOUD``
        and ``CLOUD_SHADOW``), and as far as there are ``MG2`` or ``WATER`` and ``SNOW``, ``AOT``, and the angles ``SZA SAA
        VZA VAA`` (degrees).
    date
        Synthesis date(s); None: the middle of the cube's dates.
    half_window
        Days taken on either side, default 23.
    mode
        ``plus`` or ``wasp1``, the exact recursion of WASP 1.0.
    brdf
        Directional correction ``roy``, ``wasp1`` or ``none``; None: the mode's own. Needs the angle bands.
    robust
        Leave out land dates of outlying blue; None: in mode ``plus``.
    weights
        See `processes.wasp.weights.Weighting`.
    sensor_weights
        Weight per sensor (``sentinel-2``, ``landsat``, ``venus``), where the cube has a coordinate ``platform`` along t.

    Returns
    -------
    Lazy float32 cube (t = synthesis dates; bands = reflectance, FLG, WGT, DTS, NCL; y, x). FLG: 0 nodata, 1 cloud or
    shadow, 2 snow, 3 water, 4 land. DTS: days since 2000-01-01 (``wasp1``: 0-based day of year). NCL: clear dates.
    ``attrs["extent_used"]`` tells the extent on which distances to clouds were measured.

    Raises
    ------
    ProcessError
        ``ProcessParameterInvalid``, ``DimensionNotAvailable``, ``DimensionMissing``, ``NoDataAvailable``.
    """
    options = Options.of(half_window=half_window, mode=mode, brdf=brdf, robust=robust, weights=weights)
    t, bands, (y, x) = cubes.temporal_dim(data), cubes.bands_dim(data), cubes.spatial_dims(data)
    data = data.transpose(t, bands, y, x)
    days = _days(data, t)
    order = np.argsort(np.array(days, dtype="datetime64[D]"), kind="stable")
    layout = Layout.of(data, bands)
    parts = []
    for synthesis in chain.parse_dates(date, days):
        inside = [int(i) for i in order if options.takes(days[i], synthesis)]
        if not inside:
            raise ProcessError(
                "NoDataAvailable", f"The cube has no date within {options.half_window} days of {synthesis}."
            )
        own = data.isel({t: inside})
        scales = _scales(own, t, [days[i] for i in inside], synthesis, options, sensor_weights or {})
        parts.append(
            _one(own, (t, bands, y, x), layout, [days[i] for i in inside], synthesis, options, scales, env or Env())
        )
    result = parts[0] if len(parts) == 1 else xr.concat(parts, dim=t, combine_attrs="override")
    grid = {"extent_used": [float(v) for v in (data[x].min(), data[y].min(), data[x].max(), data[y].max())]}
    info = {k: v for k, v in data.attrs.get("band_info", {}).items() if k in layout.reflectance}
    return cubes.like(result, data, **grid, band_info=info)


@dataclass(frozen=True)
class Layout:
    """Where a cube's bands are: indices along the band dimension."""

    labels: tuple[str, ...]
    reflectance: tuple[str, ...]
    blue: str
    nir: str | None

    @classmethod
    def of(cls, data: xr.DataArray, dimension: str) -> Layout:
        """Raises ``ProcessParameterInvalid`` where a cloud mask or a blue band is missing."""
        labels = tuple(map(str, cubes.labels(data, dimension)))
        info = data.attrs.get("band_info", {})
        reflectance = tuple(b for b in labels if b not in NO_REFLECTANCE)
        if not {"CLM", "CLOUD"} & set(labels):
            raise parameter_invalid("data", "it needs a cloud mask: load the band CLM, or CLOUD and CLOUD_SHADOW.")
        named = [b for b in reflectance if _common(info, b) == "blue"]
        blue = named[0] if named else "B02"
        if blue not in reflectance:
            raise parameter_invalid("data", "it needs a blue band (B02), which decides between cloudy dates.")
        infrared = [b for b in reflectance if _common(info, b) in ("nir", "nir08")] + [
            b for b in NIR if b in reflectance
        ]
        return cls(labels, reflectance, blue, infrared[0] if infrared else None)

    def at(self, *names: str) -> list[int]:
        return [self.labels.index(n) for n in names if n in self.labels]


def _common(info: Mapping[str, Mapping[str, Any]], band: str) -> Any:
    held = info.get(band, {})
    return held.get("common_name", held.get("eo:common_name"))


def _days(data: xr.DataArray, t: str) -> list[Date]:
    labels = cubes.labels(data, t)
    try:
        return [np.datetime64(v, "D").astype(Date) for v in labels]
    except ValueError:
        raise parameter_invalid("data", f"its temporal labels are no dates: {labels[0]!r}.") from None


def _scales(
    own: xr.DataArray, t: str, days: Sequence[Date], synthesis: Date, options: Options, weights: Mapping[str, float]
) -> list[float]:
    """Date weight x sensor weight per date."""
    platforms = (
        [str(p).lower() for p in own.coords["platform"].values] if "platform" in own.coords else [""] * len(days)
    )
    mixed = any("venus" not in p for p in platforms)
    scales = []
    for day, platform in zip(days, platforms):
        name = next((n for n in ("landsat", "venus", "sentinel") if n in platform), "sentinel")
        usual = LANDSAT.weight if name == "landsat" else VENUS.weight if name == "venus" and mixed else 1.0
        sensor = float(weights.get("sentinel-2" if name == "sentinel" else name, usual))
        away = (day - synthesis).days
        scales.append(date_weight(away, options.half_window, options.weighting, options.mode) * sensor)
    return scales


def _one(
    own: xr.DataArray, dims: tuple[str, str, str, str], layout: Layout, days: Sequence[Date], synthesis: Date,
    options: Options, scales: Sequence[float], env: Env,
) -> xr.DataArray:  # fmt: skip
    """Synthesis for one date, lazy where ``own`` is."""
    t, bands, y, x = dims
    own = _smaller(own, dims, env)
    step = max(coarse_step(_resolution(own, y, x), options.weighting), 1)
    coarse = CoarseGrid(own.sizes[y], own.sizes[x], step, options.mode)
    masks = own.isel({bands: layout.at(*(("CLM",) if "CLM" in layout.labels else ("CLOUD", "CLOUD_SHADOW")))})
    shape = (2, own.sizes[t], *coarse.shape)
    fields = blocks.fold_blocks(
        partial(_cloud_parts, coarse=coarse, raw="CLM" in layout.labels),
        partial(_cloud_fields, coarse=coarse, options=options, dates=own.sizes[t]),
        masks.chunk({bands: -1}) if blocks.is_lazy(masks) else masks,
        shape,
        np.float64,
    )
    held = xr.DataArray(
        fields if blocks.is_lazy(own) else fields.compute(scheduler="sync"), dims=("field", t, "yc", "xc")
    )
    rows = xr.DataArray(np.arange(own.sizes[y]), dims=(y,), coords={y: own.coords[y]})
    cols = xr.DataArray(np.arange(own.sizes[x]), dims=(x,), coords={x: own.coords[x]})
    if blocks.is_lazy(own):
        rows, cols = rows.chunk({y: own.chunksizes[y]}), cols.chunk({x: own.chunksizes[x]})
    names = [*layout.reflectance, *LAYERS]
    work = partial(
        _block,
        layout=layout,
        coarse=coarse,
        days=tuple(days),
        synthesis=synthesis,
        options=options,
        scales=tuple(scales),
    )
    plain = own.drop_vars([c for c in own.coords if t in own.coords[c].dims])
    result = blocks.map_blocks(
        work, plain, held, rows, cols, core=[t, bands, "field", "yc", "xc"], out_core={t: 1, bands: len(names)}
    )
    label = np.datetime64(synthesis.isoformat(), "ns")
    return result.transpose(*dims).assign_coords({t: [label], bands: names})


def _resolution(data: xr.DataArray, y: str, x: str) -> float:
    """Pixel size in metres; degrees count 111.32 km."""
    axis = x if data.sizes[x] > 1 else y
    values = data.coords[axis].values
    size = abs(float(values[-1] - values[0])) / (len(values) - 1) if len(values) > 1 else 10.0
    crs = cubes.crs_of(data)
    return size * 111_320.0 if crs is not None and crs.geographic else size


def _smaller(own: xr.DataArray, dims: tuple[str, str, str, str], env: Env) -> xr.DataArray:
    """The cube in spatial blocks that hold all dates within a thread's share of the memory."""
    t, bands, y, x = dims
    if not blocks.is_lazy(own):
        return own
    allowed = env.limits.memory / (4 * max(env.limits.threads, 1))
    pixels = max(int(allowed / (own.sizes[t] * (own.sizes[bands] * 12 + 16))), 64 * 64)
    rows, cols = max(own.chunksizes[y]), max(own.chunksizes[x])
    while rows * cols > pixels:
        rows, cols = (-(-rows // 2), cols) if rows >= cols else (rows, -(-cols // 2))
    return own.chunk({t: -1, bands: -1, y: rows, x: cols})


def _cloud_parts(block: np.ndarray, offsets: tuple[int, ...], *, coarse: CoarseGrid, raw: bool) -> list[Any]:
    """A block's share of the coarse cells, per date: (date, rows, columns, sums)."""
    cloud = _said(block, CLM_ANY if raw else 0)
    return [(offsets[0] + i, *coarse.part(cloud[i].view(np.uint8), offsets[2], offsets[3])) for i in range(len(cloud))]


def _cloud_fields(parts: list[list[Any]], *, coarse: CoarseGrid, options: Options, dates: int) -> np.ndarray:
    sums = [coarse.start() for _ in range(dates)]
    for t, rows, cols, share in (p for part in parts for p in part):
        sums[t][rows, cols] += share
    return np.stack([coarse.fields(s, options.weighting) for s in sums], axis=1)


def _said(values: np.ndarray, bits: int) -> np.ndarray:
    """Any of the mask bands (T, M, h, w) says so: bool (T, h, w). NaN and 255 of a 0/1 band are no."""
    if bits:
        return (np.nan_to_num(values).astype(np.int32) & bits).any(axis=1)
    return (values == 1).any(axis=1)


def _block(
    values: np.ndarray, fields: np.ndarray, rows: np.ndarray, cols: np.ndarray, *, layout: Layout, coarse: CoarseGrid,
    days: tuple[Date, ...], synthesis: Date, options: Options, scales: tuple[float, ...],
) -> np.ndarray:  # fmt: skip
    """One block: (T, bands, h, w) and the cloud fields (T, 2, cells) in, (1, bands, h, w) out."""
    cells = fields.reshape(fields.shape[:4])  # the pixel dimensions it lacks come as ones
    small, large = np.ascontiguousarray(cells[:, 0]), np.ascontiguousarray(cells[:, 1])
    dates, _, height, width = values.shape
    # digital numbers to 1/16: exact for reflectance that was stored as int16
    dn = np.rint(values[:, layout.at(*layout.reflectance)] * np.float32(16e4)) / np.float32(16)
    dn = np.where(np.isnan(dn), np.float32(NODATA), dn).astype(np.float32)
    raw = "MG2" in layout.labels
    water = _said(values[:, layout.at("MG2")], MG2_WATER) if raw else _said(values[:, layout.at("WATER")], 0)
    snow = _said(values[:, layout.at("MG2")], MG2_SNOW) if raw else _said(values[:, layout.at("SNOW")], 0)
    clm = "CLM" in layout.labels
    cloud = (
        _said(values[:, layout.at("CLM")], CLM_ANY) if clm else _said(values[:, layout.at("CLOUD", "CLOUD_SHADOW")], 0)
    )
    cls = classify(cloud, water, snow, dn)
    origin = int(rows.flat[0]), int(cols.flat[0])
    weight = np.empty((dates, height, width), np.float32)
    for i in range(dates):
        aerosol = np.ones((1, 1), np.float32)
        if "AOT" in layout.labels:
            aerosol = aerosol_weight(values[i, layout.labels.index("AOT")], options.weighting)
        coarse.weight(small[i], large[i], aerosol, scales[i], *origin, weight[i])
    blue = layout.reflectance.index(layout.blue)
    delivered = dn[:, blue].copy()
    _correct(values, dn, cls, layout, options)
    seen = np.ones((dates, dn.shape[1]), bool)
    ones = np.ones((dates, dn.shape[1], 1, 1), np.float32)
    if options.mode == "wasp1":
        block = Block(np.rint(dn).astype(np.int16), cls, delivered, weight, ones, ones[:, 0], seen, origin)
    else:
        block = Block(dn, cls, dn[:, blue], weight, ones, ones[:, 0], seen, origin)
        if options.robust and layout.nir is not None:
            block = replace(block, dark=guide_of(block, dn[:, layout.reflectance.index(layout.nir)], ones[:, 0]))
    return _stack(synthesise(block, days, synthesis, options), synthesis, options)


def _correct(values: np.ndarray, dn: np.ndarray, cls: np.ndarray, layout: Layout, options: Options) -> None:
    """Directional correction of land in place, where the cube has the angles."""
    if options.brdf == "none" or len(layout.at(*ANGLES)) < 4:
        return
    for i in range(len(dn)):
        sza, saa, vza, vaa = (values[i, layout.labels.index(a)] for a in ANGLES)
        for b, band in enumerate(layout.reflectance):
            if band not in options.coefficients:
                continue
            ratio = factor(options.coefficients[band], sza, vza, saa - vaa, options.brdf).astype(np.float32)
            corrected = dn[i, b] * ratio
            if options.mode == "wasp1":
                corrected = np.trunc(corrected)
            usable = (cls[i] == 4) & (dn[i, b] != NODATA) & np.isfinite(ratio) & (ratio > 0)
            dn[i, b] = np.where(usable, corrected, dn[i, b])


def _stack(result: Result, synthesis: Date, options: Options) -> np.ndarray:
    """A result as the cube's bands, rounded once to 1/10000: (1, bands, h, w) float32."""
    first = 0.0 if options.mode == "wasp1" else float((synthesis - EPOCH).days)
    layers = [
        np.rint(result.refl) / np.float32(1e4),
        result.flag[None],
        np.rint(result.weight * np.float32(1000))[None] / np.float32(1000),
        (np.rint(result.date) + np.float32(first))[None],
        result.clear[None],
    ]
    return np.concatenate([np.asarray(layer, dtype=np.float32) for layer in layers])[None]
