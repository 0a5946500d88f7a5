"""What contenders share: versions, STAC items, writing. No package is imported before it is used."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path

import numpy as np

COG = {"driver": "COG", "compress": "DEFLATE", "level": 1, "predictor": "YES", "blocksize": 512, "overviews": "AUTO",
       "overview_resampling": "AVERAGE", "num_threads": 2}  # fmt: skip
SCALE = np.float32(1e-4)


def installed(*names):
    return {n: metadata.version(n) for n in names}


def threads(spec):
    return spec["threads"]


def transform(spec):
    from affine import Affine

    return Affine(spec["resolution"], 0, spec["origin"][0], 0, -spec["resolution"], spec["origin"][1])


def stac_items(spec):
    """The archive as STAC items with projection and raster extensions, one asset per band."""
    from datetime import datetime

    import pystac

    side = spec["size"] * spec["resolution"]
    x, y = spec["origin"]
    out = []
    for entry in spec["items"]:
        west, south, east, north = spec["bbox"]
        item = pystac.Item(
            entry["id"],
            {"type": "Polygon", "coordinates": [[[west, south], [east, south], [east, north], [west, north], [west, south]]]},
            spec["bbox"],
            datetime.fromisoformat(entry["datetime"].replace("Z", "+00:00")),
            {"proj:epsg": spec["epsg"], "proj:code": f"EPSG:{spec['epsg']}"},
            stac_extensions=["https://stac-extensions.github.io/projection/v1.1.0/schema.json",
                             "https://stac-extensions.github.io/raster/v1.1.0/schema.json",
                             "https://stac-extensions.github.io/eo/v1.1.0/schema.json"],
        )  # fmt: skip
        for band, path in entry["files"].items():
            mask = band == "CLM"
            fields = {
                "proj:shape": [spec["size"], spec["size"]],
                "proj:transform": [spec["resolution"], 0.0, x, 0.0, -spec["resolution"], y],
                "proj:bbox": [x, y - side, x + side, y],
                "raster:bands": [{"data_type": "uint8"} if mask else {"data_type": "int16", "nodata": spec["nodata"]}],
                "eo:bands": [{"name": band}],
            }
            item.add_asset(
                band,
                pystac.Asset(path, media_type="image/tiff; application=geotiff", roles=["data"], extra_fields=fields),
            )
        out.append(item)
    return out


def labels(spec):
    """The polygons as an integer raster (0: none, k + 1: polygon k; later ones win where two overlap)."""
    from rasterio.features import rasterize

    shapes = [({"type": "Polygon", "coordinates": [ring]}, k + 1) for k, ring in enumerate(spec["polygons"])]
    return rasterize(shapes, (spec["size"], spec["size"]), transform=transform(spec), fill=0, dtype="int32")


def zone_means(values, zones, number):
    """Means of a plane (NaN: no value) in zones 1 ... number."""
    valid = np.isfinite(values) & (zones > 0)
    z = zones[valid]
    total = np.bincount(z, weights=values[valid], minlength=number + 1)
    count = np.bincount(z, minlength=number + 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (total / count)[1:]


def write_series(out, series):
    """A (date, band, polygon) array as JSON."""
    Path(out, "w3.json").write_text(json.dumps(np.where(np.isfinite(series), series, None).tolist()))


def array(workload, spec, out):
    """What a contender wrote, as canonical ``result.npy``: W1 (y, x), W2 (month, band, y, x), W3 (date, band, polygon)."""
    import rasterio

    if workload == "W1":
        with rasterio.open(Path(out, "w1.tif")) as source:
            result = source.read(1)
    elif workload == "W2":
        _monthly_array(spec, out)
        return
    elif workload == "W3":
        result = np.array(json.loads(Path(out, "w3.json").read_text()), dtype="f8")
    else:
        with rasterio.open(Path(out, "w4.png")) as source:
            result = np.moveaxis(source.read()[:3], 0, -1)
    np.save(Path(out, "result.npy"), result)


def _monthly_array(spec, out):
    """W2 month by month and band by band: of a whole tile it has six gigabytes."""
    import netCDF4

    with netCDF4.Dataset(Path(out, "w2.nc")) as file:
        months, *plane = file[spec["w2_bands"][0]].shape
        shape = (months, len(spec["w2_bands"]), *plane)
        result = np.lib.format.open_memmap(Path(out, "result.npy"), "w+", np.dtype("f4"), shape)
        for k, band in enumerate(spec["w2_bands"]):
            for month in range(months):
                result[month, k] = np.ma.filled(file[band][month], np.nan)


def stretched(red, green, blue):
    """Digital numbers 0 to 3000 as bytes."""
    return [np.clip(np.nan_to_num(b) * (255 / 3000) + 0.5, 0, 255).astype("u1") for b in (red, green, blue)]


def write_png(path, planes):
    import rasterio

    height, width = planes[0].shape
    with rasterio.open(path, "w", driver="PNG", height=height, width=width, count=3, dtype="uint8") as file:
        for k, plane in enumerate(planes):
            file.write(plane, k + 1)
