"""``tuile doctor --warm``: compile the kernels by doing, on a tiny made-up archive, what requests do.

numba compiles a kernel for the types it is called with, and keeps the code on disk. Calling kernels with made-up arrays
would compile for the types somebody thought of; requests are run instead, so that what is compiled is what they need.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

COLLECTION = "SENTINEL2_L2A_MAJA"
SIZE, DATES = 120, 3


def warm(say: Callable[[str], None]) -> None:
    """Run one request of each kind; ``say`` is told how long each took.

    Raises `OpenEOError` where one fails, which means that the installation does not work.
    """
    from backend.catalogue import open_catalogue
    from backend.demo.archive import generate
    from backend.graph.run import execute
    from backend.settings import Settings
    from processes.env import Env, Limits

    with tempfile.TemporaryDirectory(prefix="tuile-warm-") as scratch:
        folder = Path(scratch)
        begun = time.perf_counter()
        archive = generate(folder / "archive", size=SIZE, dates=DATES, sre=False, workers=1)
        settings = Settings().model_copy(update={"archive": [archive.folder], "data_dir": folder / "data"})
        settings.data_dir.mkdir()
        catalogue = open_catalogue(settings)
        catalogue.ingest([archive.folder])
        say(f"archive made and indexed in {time.perf_counter() - begun:.1f} s")
        env = Env(catalogue, limits=Limits(1 << 30, 2), workspace=folder / "work", sink=lambda *_, **__: None)
        extent = catalogue.collection(COLLECTION)["extent"]["spatial"]["bbox"][0]
        for name, process in requests(extent).items():
            begun, out = time.perf_counter(), folder / "out" / name.replace(" ", "-")
            out.mkdir(parents=True)
            execute(process, env, out)
            say(f"{name} in {time.perf_counter() - begun:.1f} s")


def requests(extent: list[float]) -> dict[str, dict[str, Any]]:
    """What people ask for, by name: processes over ``extent`` (west, south, east, north)."""
    west, south, east, north = extent
    third = (east - west) / 3
    ring = [[west + third, south], [east - third, south], [east - third, north], [west + third, north]]
    polygon = {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}
    made = {
        "composite": _chain(
            _load("B04", "B08"), _masked(), ("ndvi", {"nir": "B08", "red": "B04"}), _reduced("median"), _save("COG")
        ),
        "monthly means": _chain(
            _load("B04", "B08"), ("aggregate_temporal_period", {"period": "month", "reducer": _reducer("mean")}),
            _save("netCDF"),
        ),
        "series of polygons": _chain(
            _load("B04", "B08"), ("aggregate_spatial", {"geometries": polygon, "reducer": _reducer("mean")}),
            _save("JSON"),
        ),
        "picture": _chain(
            _load("B04", "B03", "B02"), ("resample_spatial", {"resolution": 40}), _reduced("first"), _save("PNG")
        ),
        "classes": _chain(_load("CLM"), _reduced("max"), _save("COG")),
        "filter": _chain(
            _load("B04"), ("apply_kernel", {"kernel": [[1, 1, 1]] * 3, "factor": 1 / 9}), _reduced("max"), _save("COG")
        ),
        "another grid": _chain(
            _load("B04"), ("resample_spatial", {"resolution": 20, "projection": 3857, "method": "near"}),
            _reduced("min"), _save("COG"),
        ),
        "coarser by average": _chain(
            _load("B04"), ("resample_spatial", {"resolution": 20, "method": "average"}), _reduced("mean"), _save("COG")
        ),
        "gaps filled": _chain(
            _load("B04"), _masked(),
            ("apply_dimension", {"dimension": "t", "process": _reducer("array_interpolate_linear")}),
            _reduced("sd"), _save("COG"),
        ),
        "lis_snow": _chain(_load(None), ("lis_snow", {}), _save("COG")),
        "wasp_synthesis": _chain(_load(None), ("wasp_synthesis", {"half_window": 200}), _save("COG")),
    }  # fmt: skip
    return {name: json.loads(json.dumps(process)) for name, process in made.items()}


def _chain(*steps: tuple[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A process in which each step works on the one before."""
    graph: dict[str, Any] = {}
    for number, (id, arguments) in enumerate(steps):
        given = dict(arguments) if number == 0 else {"data": {"from_node": f"n{number - 1}"}, **arguments}
        if "mask" in given:
            graph |= {"clouds": _node(*_load("CLOUD")), "cloudy": _node("reduce_dimension", _FIRST_BAND)}
        graph[f"n{number}"] = _node(id, given)
    graph[f"n{len(steps) - 1}"]["result"] = True
    return {"process_graph": graph}


def _node(id: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {"process_id": id, "arguments": dict(arguments)}


def _load(*bands: str | None) -> tuple[str, dict[str, Any]]:
    named = None if None in bands else list(bands)
    return "load_collection", {"id": COLLECTION, "spatial_extent": None, "temporal_extent": None, "bands": named}


def _save(format: str) -> tuple[str, dict[str, Any]]:
    return "save_result", {"format": format}


def _reducer(id: str) -> dict[str, Any]:
    return {"process_graph": {"r": {**_node(id, {"data": {"from_parameter": "data"}}), "result": True}}}


def _reduced(id: str) -> tuple[str, dict[str, Any]]:
    return "reduce_dimension", {"dimension": "t", "reducer": _reducer(id)}


def _masked() -> tuple[str, dict[str, Any]]:
    return "mask", {"mask": {"from_node": "cloudy"}}


_FIRST_BAND = {
    "data": {"from_node": "clouds"},
    "dimension": "bands",
    "reducer": {
        "process_graph": {
            "a": _node("array_element", {"data": {"from_parameter": "data"}, "index": 0}),
            "e": {**_node("eq", {"x": {"from_node": "a"}, "y": 1}), "result": True},
        }
    },
}
