"""What is measured: the workloads, and what every contender is told of them."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from odc.geo.geom import box
from pyproj import Transformer

from tests.bench.archive import polygons

TITLES = {
    "W1": "NDVI, clouds masked, median over all dates, to a COG (deflate 1, predictor, overviews)",
    "W2": "monthly mean of four bands, to netCDF without compression",
    "W3": "mean time series of 100 polygons, two bands, to JSON",
    "W4": "true-colour preview of a whole tile in 512 x 512 pixels, to PNG",
}
W2_BANDS, W3_BANDS = ("B02", "B03", "B04", "B08"), ("B04", "B08")
GDAL = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "GDAL_NUM_THREADS": "1", "GDAL_CACHEMAX": 64 << 20}
PREVIEW = 512


def specification(described: dict[str, Any], threads: int = 2, memory: int = 4 << 30) -> dict[str, Any]:
    """Everything a contender needs, as JSON."""
    west, north = described["origin"]
    side = described["size"] * described["resolution"]
    rings = polygons(described)
    to_wgs84 = Transformer.from_crs(described["epsg"], 4326, always_xy=True).transform
    days = [datetime.fromisoformat(i["datetime"].replace("Z", "+00:00")) for i in described["items"]]
    day = "%Y-%m-%d"
    end = (days[-1] + timedelta(days=1)).strftime(day)
    bounds = (west, north - side, west + side, north)
    return {
        **described,
        "bounds": bounds,
        "bbox": list(box(*bounds, f"EPSG:{described['epsg']}").to_crs("EPSG:4326").boundingbox),
        "polygons": rings,
        "polygons_wgs84": [[to_wgs84(*p) for p in ring] for ring in rings],
        "interval": [days[0].strftime(day), end],
        "last_day": [days[-1].strftime(day), end],
        "w2_bands": W2_BANDS,
        "w3_bands": W3_BANDS,
        "preview": PREVIEW,
        "threads": threads,
        "memory": memory,
        "gdal": GDAL,
        "files": {w: files(w, described) for w in TITLES},
    }


def files(workload: str, described: dict[str, Any]) -> list[str]:
    """Files a workload reads."""
    bands = {"W1": ("B04", "B08", "CLM"), "W2": W2_BANDS, "W3": W3_BANDS, "W4": ("B02", "B03", "B04")}[workload]
    items = described["items"][-1:] if workload == "W4" else described["items"]
    return [i["files"][b] for i in items for b in bands]


def describe_files(workload: str, spec: dict[str, Any]) -> str:
    """How much a workload reads."""
    size = sum(Path(f).stat().st_size for f in spec["files"][workload])
    return f"{len(spec['files'][workload])} files, {size / 1e6:.0f} MB on disk"
