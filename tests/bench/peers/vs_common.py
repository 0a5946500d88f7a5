"""The cube both sides of `tests.bench.processes_vs_dask` work on: one array of chance, the same in both."""

from __future__ import annotations

import numpy as np

BANDS = ["B02", "B03", "B04", "B08"]
EPSG, WEST, NORTH, STEP = 32631, 600_000.0, 4_900_000.0, 10.0
PROBABILITIES = [0.1, 0.5, 0.9]
# one number in, one out: (process, its other arguments)
NUMBERS = {
    "add": ("add", {"y": 1}),
    "multiply": ("multiply", {"y": 0.0001}),
    "difference": ("normalized_difference", {"y": 0.3}),
    "power": ("power", {"p": 2}),
    "sqrt": ("sqrt", {}),
    "log": ("log", {"base": 10}),
    "gt": ("gt", {"y": 0.5}),
    "clip": ("clip", {"min": 0.2, "max": 0.8}),
    "scale": ("linear_scale_range", {"inputMin": 0, "inputMax": 1, "outputMin": 0, "outputMax": 255}),
}
WORKLOADS = ("ndvi", *NUMBERS, "if", "evi", "median", "quantiles", "interpolation", "zonal", "month")


def values(spec):
    """float32 (t, bands, y, x) between 0 and 1 with 15 % of holes, as after a cloud mask."""
    shape = (spec["dates"], len(BANDS), spec["size"], spec["size"])
    rng = np.random.default_rng(1)
    out = rng.random(shape, dtype="f4")
    out[rng.random(shape, dtype="f4") < 0.15] = np.nan
    return out


def coords(spec):
    """Dates every five days, bands, and centres of 10 m cells from the north-west."""
    steps = np.arange(spec["size"]) * STEP + STEP / 2
    dates = np.datetime64("2024-03-01", "ns") + np.arange(spec["dates"]) * np.timedelta64(5, "D")
    return {"t": dates, "bands": BANDS, "y": NORTH - steps, "x": WEST + steps}


def polygons(spec):
    """GeoJSON (EPSG:4326) of hexagons strewn over the cube, about 40 to 60 cells across."""
    from pyproj import Transformer

    rng = np.random.default_rng(2)
    side = spec["size"] * STEP
    move = Transformer.from_crs(EPSG, 4326, always_xy=True).transform
    features = []
    for _ in range(spec["polygons"]):
        radius = rng.uniform(200, 300)
        x, y = WEST + rng.uniform(radius, side - radius), NORTH - rng.uniform(radius, side - radius)
        angle = np.linspace(0, 2 * np.pi, 7)
        ring = [list(move(x + radius * np.cos(a), y + radius * np.sin(a))) for a in angle]
        geometry = {"type": "Polygon", "coordinates": [ring]}
        features.append({"type": "Feature", "properties": {}, "geometry": geometry})
    return {"type": "FeatureCollection", "features": features}


def ordered(data):
    """Result as an array in one order of dimensions, whatever the new ones are called."""
    known = [d for d in ("t", "bands", "y", "x") if d in data.dims]
    return np.asarray(data.transpose(*[d for d in data.dims if d not in known], *known).values, "f4")
