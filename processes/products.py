"""What a cube remembers of the products it was loaded from: what whoever writes products again must know.

``attrs["products"]`` holds one record per item (`records`); ``attrs["made"]`` is what a chain's stage left in the workspace
(`Made`), of use as long as the cube is still what was loaded of it (`untouched`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import xarray as xr
from odc.geo.geobox import GeoBox

from processes import cube as cubes
from processes.errors import ProcessError
from processes.load.items import item_bands

Record = Mapping[str, Any]
TILE = re.compile(r"[A-Za-z0-9_]{1,40}")
KEPT = (
    "platform", "constellation", "grid:code", "tuile:zone", "start_datetime", "end_datetime", "tuile:dts", "derived_from",
    "tuile:derived_from", "lis:snow_line", "lis:mode", "lis:fsc_law",
)  # fmt: skip


@dataclass(frozen=True)
class Made:
    """Products of a chain's stage that a cube was loaded from.

    Attributes
    ----------
    chain : id of the chain's process
    params : parameters it ran with
    inputs : id -> day of the products it read
    products : (folder in the workspace, item) of each product, where the cube shows all of every product; else empty
    token : the cube as it was loaded, see `token_of`
    """

    chain: str
    params: Mapping[str, Any]
    inputs: Mapping[str, date]
    products: tuple[tuple[Path, pystac.Item], ...] = ()
    token: tuple[Any, ...] = field(default=())


def records(items: Iterable[pystac.Item]) -> list[Record]:
    """One record per item: ``id``, ``datetime`` (datetime64), ``metadata`` (path of its ``MTD.json``) and what `KEPT` names."""
    out: list[Record] = []
    for item in items:
        when = item.datetime or item.common_metadata.start_datetime
        record = {k: item.properties[k] for k in KEPT if item.properties.get(k) is not None}
        beside = item.assets.get("MTD_json")
        record |= {"id": item.id, "datetime": None if when is None else np.datetime64(when.replace(tzinfo=None), "s")}
        out.append(record | ({"metadata": beside.href} if beside is not None else {}))
    return out


def records_of(data: xr.DataArray) -> Sequence[Record]:
    """Records of the products that ``data`` was loaded from; empty where nothing is known."""
    return data.attrs.get("products", ())


def record_at(data: xr.DataArray, label: Any) -> Record | None:
    """The record of the product that has the instant ``label``, to the second."""
    if not isinstance(label, np.datetime64):
        return None
    second = label.astype("M8[s]")
    return next((r for r in records_of(data) if r["datetime"] == second), None)


def tile_name(data: xr.DataArray, given: str | None, what: str) -> str:
    """Name of the place for the names of products: as given, else that of the tile that the data come from.

    Raises ``FormatUnsuitable`` where there is none, or more than one, and for a name that is none.
    """
    if given is not None:
        if not TILE.fullmatch(given):
            raise unsuitable(what, f"'{given}' is no name of a tile: letters, digits and _ only, at most 40.")
        return given
    found = sorted({t for r in records_of(data) if (t := _tile(r))})
    if len(found) == 1:
        return found[0]
    why = (
        f"the data come from the tiles {', '.join(found[:5])}"
        if found
        else "it is not known of which tile the data are"
    )
    raise unsuitable(what, f"{why}. Give the option 'tile', for example 'T31TCH' or a name of your own.")


def _tile(record: Record) -> str | None:
    code, zone = record.get("grid:code"), record.get("tuile:zone")
    if code:
        name = re.sub(r"\W", "_", str(code).split("-", 1)[-1])
        return f"T{name}" if str(code).startswith("MGRS-") else name
    return re.sub(r"\W", "_", str(zone)) if zone else None


def unsuitable(what: str, why: str) -> ProcessError:
    """``FormatUnsuitable``: the cube cannot be written as these products."""
    return ProcessError("FormatUnsuitable", f"The result cannot be saved as {what}: {why}")


def dates_of(data: xr.DataArray, what: str) -> tuple[str, list[np.datetime64]]:
    """Temporal dimension and its labels, which must be instants. Raises ``FormatUnsuitable``."""
    time = cubes.dim_of(data, cubes.TEMPORAL)
    labels = [] if time is None else cubes.labels(data, time)
    if time is None or not labels or not all(isinstance(v, np.datetime64) and not np.isnat(v) for v in labels):
        raise unsuitable(what, "there is a product per date, and the cube has no temporal dimension of dates.")
    return time, labels


def named_bands(data: xr.DataArray, wanted: Sequence[str], what: str, process: str) -> str:
    """The band dimension, which must have the labels ``wanted``. Raises ``FormatUnsuitable`` naming those missing."""
    dimension = cubes.dim_of(data, cubes.BANDS)
    held = [] if dimension is None else [str(v) for v in cubes.labels(data, dimension)]
    missing = [b for b in wanted if b not in held]
    if dimension is None or missing:
        has = f"it has {', '.join(held[:20])}" if held else "it has no bands"
        raise unsuitable(what, f"the cube lacks the bands {', '.join(missing)} of {process}; {has}.")
    return dimension


def spatial_of(data: xr.DataArray, others: tuple[str, str], what: str) -> tuple[str, str]:
    """Names of y and x of a cube that has no dimension beside them and ``others``, and a place on Earth.

    Raises
    ------
    ProcessError : FormatUnsuitable, of a further dimension or without coordinate reference system
    """
    y, x = cubes.spatial_dims(data)
    rest = [str(d) for d in data.dims if d not in (*others, y, x)]
    if rest:
        raise unsuitable(what, f"the cube has a further dimension {', '.join(rest)}. Reduce or drop it.")
    if cubes.crs_of(data) is None:
        raise unsuitable(what, "the cube has no coordinate reference system.")
    return y, x


def token_of(data: xr.DataArray) -> tuple[Any, ...]:
    """Equal for cubes of the same blocks with the same labels: a process that changes a cube makes another."""
    place = [(d, data.sizes[d], str(data.coords[d].values[:1])) for d in map(str, data.dims) if d in data.coords]
    names = [
        tuple(map(str, cubes.labels(data, d))) for k in (cubes.TEMPORAL, cubes.BANDS) for d in cubes.dims_of(data, k)
    ]
    return getattr(data.data, "name", None), tuple(place), tuple(names)


def made_by(
    chain: str,
    params: Mapping[str, Any],
    inputs: Iterable[pystac.Item],
    products: Sequence[pystac.Item],
    data: xr.DataArray,
    *,
    clipped: bool,
) -> Made:
    """What a stage has made, and its cube ``data`` shows: ``clipped`` where an extent was asked for."""
    days = {i.id: i.datetime.date() for i in inputs if i.datetime is not None}
    offered = [item_bands(p) for p in products]
    held = {str(v) for v in cubes.labels(data, cubes.bands_dim(data))}
    whole = all(n in held for per in offered for n, b in per.items() if b.kind == "reflectance")
    if clipped and whole:  # an extent that holds the products clips nothing
        grid = cubes.geobox_of(data)
        whole = all(_inside(b.geobox, grid) for per in offered for b in per.values())
    return Made(chain, dict(params), days, _folders(products) if whole else (), token_of(data))


def _inside(part: GeoBox, whole: GeoBox) -> bool:
    a, b, slack = part.boundingbox, whole.boundingbox, 1e-3 * abs(whole.resolution.x)
    return part.crs == whole.crs and (
        a.left >= b.left - slack
        and a.right <= b.right + slack
        and a.bottom >= b.bottom - slack
        and a.top <= b.top + slack
    )


def _folders(products: Sequence[pystac.Item]) -> tuple[tuple[Path, pystac.Item], ...]:
    """The folder that is each product, by its name; none where a product is no folder of its own."""
    found = []
    for product in products:
        ups = {up for a in product.assets.values() for up in Path(a.href).parents if up.name == product.id}
        if len(ups) != 1:
            return ()
        found.append((ups.pop(), product))
    return tuple(found)


def untouched(data: xr.DataArray, chain: str) -> tuple[tuple[Path, pystac.Item], ...]:
    """Folders and items of the whole products of a chain's stage, if ``data`` is all of them and nothing else; else empty."""
    made = data.attrs.get("made")
    if not isinstance(made, Made) or made.chain != chain or made.token != token_of(data):
        return ()
    return made.products if all(folder.is_dir() for folder, _ in made.products) else ()
