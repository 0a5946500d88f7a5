"""A whole archive of synthetic satellite products, the same bytes for the same options.

    from backend.demo.archive import generate
    generate(Path("archive"), size=648, dates=12)

Files under ``DIR``: one folder per product, ``rasters/`` (DEM, TCD, WATER per tile), ``truth/`` (see its README.txt).
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import rasterio

from backend.demo import truth as truth_layers
from backend.demo.cover import LEGEND
from backend.demo.geometry import Ground, TileGrid, Track, common_ground, passes, windows
from backend.demo.landsat import LandsatSink
from backend.demo.muscate import BANDS, MuscateOptions, MuscateSink
from backend.demo.observe import Acquisition, Grid, Place, Sink
from backend.demo.raster import Compression, Layout
from backend.demo.safe_l1c import SafeL1cSink
from backend.demo.scene import World
from backend.demo.spectra import LANDSAT_FROM_S2, S2_BANDS
from backend.demo.weather import Weather, make_weather
from backend.demo.wrs import LandsatTrack, landsat_passes, path_row, scene_window

MARKER = "tuile-demo-archive.json"
FAMILIES = ("muscate", "l1c", "landsat")
GDAL_CACHE = 128 << 20  # bytes
"""MiB of blocks that GDAL may hold in one process: a row of blocks of every raster of a whole tile."""
Progress = Callable[[str, int, int], None]
"""Told the name of what is finished, how many are, and how many there will be."""


@dataclass(frozen=True)
class Plan:
    """Everything that decides the archive's bytes.

    Attributes
    ----------
    size : pixels of 10 m along a window's side, a multiple of 6; 10980 is a whole tile
    dates : number of acquisitions; start, days : the season they are spread over
    seed : of the world
    tiles : MGRS ids of neighbours; overlap : share of a small window's width that the next one also covers
    orbits : relative orbits, taken in turn; the last one's swath ends inside the scene
    families : product families to write
    distribution : MUSCATE bit order, C or D
    bands : MUSCATE bands to write, as in B02
    sre : write reflectance without slope correction too
    directional : land looks different from different directions (Roy et al. 2016), as the two orbits see it
    truth : write the truth layers
    cog : Cloud-Optimised GeoTIFF, else strips as in the producer's own files
    compression : deflate, zstd or none
    """

    size: int = 648
    dates: int = 12
    start: date = date(2024, 2, 10)
    days: float = 240
    seed: int = 7
    tiles: tuple[str, ...] = ("31TGK", "32TLQ")
    overlap: float = 0.4
    orbits: tuple[int, ...] = (8, 108)
    families: tuple[str, ...] = ("muscate",)
    distribution: str = "C"
    bands: tuple[str, ...] = BANDS
    sre: bool = True
    directional: bool = False
    truth: bool = True
    cog: bool = True
    compression: Compression = "deflate"

    def __post_init__(self) -> None:
        unknown = [b for b in self.bands if b not in BANDS]
        if unknown or not self.bands:
            raise ValueError(f"bands must be among {', '.join(BANDS)}: got {', '.join(unknown) or 'none'}")
        if self.dates < 1 or not self.orbits or not self.tiles:
            raise ValueError("an archive needs at least one date, one orbit and one tile")
        if strange := [f for f in self.families if f not in FAMILIES]:
            raise ValueError(f"families must be among {', '.join(FAMILIES)}: got {', '.join(strange)}")

    @property
    def layout(self) -> Layout:
        """Layout of the GeoTIFF files."""
        return Layout(self.cog, self.compression)


@dataclass(frozen=True)
class Season:
    """A plan worked out: where the windows lie, when they are seen, and in what weather."""

    lon: float
    lat: float
    tiles: list[TileGrid]
    tracks: list[Track]
    weather: list[Weather]
    scene: TileGrid
    landsat: list[LandsatTrack]
    landsat_weather: list[Weather]

    def passes(self, tile: int) -> list[tuple[Track, Weather]]:
        """Acquisitions of one window: the Sentinel-2 tiles in order, then the Landsat scene."""
        if tile == len(self.tiles):
            return list(zip(self.landsat, self.landsat_weather, strict=True))
        return list(zip(self.tracks, self.weather, strict=True))

    def window(self, tile: int) -> TileGrid:
        """One window: the Sentinel-2 tiles in order, then the Landsat scene."""
        return [*self.tiles, self.scene][tile]


@dataclass
class Archive:
    """What `generate` made."""

    folder: Path
    plan: Plan
    season: Season
    products: list[Path] = field(default_factory=list)


def season(plan: Plan) -> Season:
    """Work out windows, passes and weather. Raises ValueError for options that cannot be met."""
    lon, lat = common_ground(plan.tiles)
    tiles = windows(plan.tiles, plan.size, plan.overlap)
    # later orbit numbers pass further east: the last one's swath ends in the west, a good third of a window's
    # width from the middle; the others pass in the west and see everything
    edge = Track.HALF_SWATH - 0.42 * plan.size * 10
    offsets = [edge if k and k == len(plan.orbits) - 1 else 35_000 * k - 62_000 for k in range(len(plan.orbits))]
    start = datetime(plan.start.year, plan.start.month, plan.start.day, tzinfo=UTC)
    tracks = passes(plan.orbits, start, plan.days, plan.dates, offsets)
    ranks = (np.random.default_rng(plan.seed).permutation(len(tracks)) + 0.5) / len(tracks)
    weather = [make_weather(t.time, float(r), plan.seed, lat) for t, r in zip(tracks, ranks, strict=True)]
    path, row = path_row(lon, lat)
    scene = scene_window(f"{path:03d}{row:03d}", tiles, lon)
    overhead = landsat_passes(path, row, start, plan.days, plan.dates)
    # the same sky for both satellites on one day
    known = {t.time.date(): w for t, w in zip(tracks, weather, strict=True)}
    turns = (np.random.default_rng(plan.seed + 1).permutation(len(overhead)) + 0.5) / max(len(overhead), 1)
    above = [
        known.get(t.time.date()) or make_weather(t.time, float(r), plan.seed, lat)
        for t, r in zip(overhead, turns, strict=True)
    ]
    return Season(lon, lat, tiles, tracks, weather, scene, overhead, above)


@dataclass(frozen=True)
class _Task:
    """One window's unchanging layers (`date` None), or one acquisition over it."""

    folder: str
    cache: str
    plan: Plan
    tile: int
    date: int | None


def _place(task: _Task, worked: Season) -> Place:
    tile = worked.window(task.tile)
    world = World(task.plan.seed, worked.lon, worked.lat, task.plan.directional)
    return Place(world, Ground(worked.lon, worked.lat), Grid.of(tile), Path(task.cache) / tile.name)


def _run(task: _Task) -> list[str]:
    """Work of one process; returns the products it made."""
    # GDAL's own default is a share of the whole machine's memory, for each process
    with rasterio.Env(GDAL_CACHEMAX=GDAL_CACHE):
        return _work(task)


def _work(task: _Task) -> list[str]:
    worked = season(task.plan)
    place, tile = _place(task, worked), worked.window(task.tile)
    landsat = task.tile == len(worked.tiles)
    folder, plan = Path(task.folder), task.plan
    if task.date is None:
        place.build()
        if not landsat:
            truth_layers.write_rasters(folder / "rasters", f"T{tile.name}", place, plan.layout)
            if plan.truth:
                truth_layers.write_static(folder / "truth" / f"T{tile.name}" / "static", place)
        return []
    acquisition = Acquisition(place, tile, *worked.passes(task.tile)[task.date])
    sinks, products = (_landsat_sinks if landsat else _sinks)(folder, plan, acquisition)
    with ExitStack() as stack:
        for sink in sinks:
            stack.push(lambda kind, error, trace, sink=sink: sink.close(error))
        for block, ground, truth in acquisition.blocks():
            for sink in sinks:
                sink.add(block, ground, truth)
    return products


def _sinks(folder: Path, plan: Plan, acquisition: Acquisition) -> tuple[list[Sink], list[str]]:
    sinks: list[Sink] = []
    products = []
    if "muscate" in plan.families:
        options = MuscateOptions(distribution=plan.distribution, bands=plan.bands, sre=plan.sre, layout=plan.layout)
        muscate = MuscateSink(folder, acquisition, options)
        sinks.append(muscate)
        products.append(str(muscate.final))
    if "l1c" in plan.families:
        safe = SafeL1cSink(folder, acquisition)
        sinks.append(safe)
        products.append(str(safe.final))
    if plan.truth:
        day = folder / "truth" / f"T{acquisition.tile.name}" / f"{acquisition.track.time:%Y%m%d}"
        sinks.append(truth_layers.TruthSink(day, acquisition, S2_BANDS if "l1c" in plan.families else plan.bands))
    return sinks, products


def _landsat_sinks(folder: Path, plan: Plan, acquisition: Acquisition) -> tuple[list[Sink], list[str]]:
    landsat = LandsatSink(folder, acquisition, plan.layout)
    sinks: list[Sink] = [landsat]
    if plan.truth:
        day = folder / "truth" / f"LC08_{acquisition.tile.name}" / f"{acquisition.track.time:%Y%m%d}"
        bands = tuple(LANDSAT_FROM_S2.values())
        sinks.append(truth_layers.TruthSink(day, acquisition, bands, resolution=30))
    return sinks, [str(landsat.final)]


def generate(
    folder: Path, *, workers: int | None = None, progress: Progress | None = None, **options: object
) -> Archive:
    """Write a synthetic archive.

    Parameters
    ----------
    folder : made where it does not exist; may be an archive made before, which is replaced, never another folder with
        content
    workers : processes, default one per core; 1 works in this process
    progress : called as things are finished
    options : the fields of `Plan`

    Returns
    -------
    Archive
        With the products' folders, sorted by name.

    Raises
    ------
    ValueError
        Options that cannot be met, or a folder that holds something else.
    OSError
        The folder cannot be written, or a worker process died.
    """
    plan = Plan(**options)  # type: ignore[arg-type]
    worked = season(plan)
    _claim(folder, plan)
    count = workers or os.cpu_count() or 1
    cache = tempfile.mkdtemp(prefix=".cache-", dir=folder)
    places = list(range(len(worked.tiles))) if {"muscate", "l1c"} & set(plan.families) else []
    places += [len(worked.tiles)] if "landsat" in plan.families else []
    whole, done = sum(1 + len(worked.passes(p)) for p in places), 0
    products: list[str] = []
    try:
        first = [_Task(str(folder), cache, plan, p, None) for p in places]
        rest = [_Task(str(folder), cache, plan, p, d) for p in places for d in range(len(worked.passes(p)))]
        with ExitStack() as stack:
            pool = None
            if count > 1:
                # a fresh interpreter per worker: GDAL and numba do not survive a fork of a threaded parent
                context = multiprocessing.get_context("spawn")
                pool = stack.enter_context(ProcessPoolExecutor(count, mp_context=context))
            for tasks in (first, rest):
                if pool is None:
                    results = ((task, _run(task)) for task in tasks)
                else:
                    running = {pool.submit(_run, task): task for task in tasks}
                    results = ((running[f], f.result()) for f in as_completed(running))
                for task, made in results:
                    products += made
                    done += 1
                    if progress:
                        progress(_label(task, worked), done, whole)
    except BrokenProcessPool:
        raise OSError("a worker process died, perhaps for want of memory: try fewer --workers") from None
    finally:
        shutil.rmtree(cache, ignore_errors=True)
    folders = sorted(Path(p) for p in products)
    _note(folder, plan, [p.name for p in folders])
    return Archive(folder, plan, worked, folders)


def _label(task: _Task, worked: Season) -> str:
    tile = worked.window(task.tile).name
    return f"{tile} ground" if task.date is None else f"{tile} {worked.passes(task.tile)[task.date][0].time:%Y-%m-%d}"


def _claim(folder: Path, plan: Plan) -> None:
    """Make the folder ours: refuse one with other content, take away what an earlier run left, note the options."""
    marker = folder / MARKER
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not marker.is_file())):
        raise ValueError(f"{folder} exists and is not a demo archive: name a new or an empty folder")
    if marker.is_file():
        for name in [*_made_before(marker), "rasters", "truth"]:
            shutil.rmtree(folder / name, ignore_errors=True)
        for left in [*folder.glob(".cache-*"), *folder.glob(".*.part")]:
            shutil.rmtree(left, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    _note(folder, plan, [])
    if plan.truth:
        (folder / "truth").mkdir(exist_ok=True)
        (folder / "truth" / "README.txt").write_text(truth_layers.README)
        (folder / "truth" / ".tuileignore").touch()  # not products: ingest passes over them
        legend = "".join(f"{code} {name}\n" for code, name in sorted(LEGEND.items()))
        (folder / "truth" / "land_cover.txt").write_text(legend)


def _made_before(marker: Path) -> list[str]:
    """Product folders that an earlier run noted: plain names only, whatever the note says."""
    try:
        products = json.loads(marker.read_text()).get("products", [])
    except (ValueError, AttributeError):
        raise ValueError(f"{marker} is damaged: delete the folder, or name another") from None
    return [p for p in products if isinstance(p, str) and p == Path(p).name and p not in ("", ".", "..")]


def _note(folder: Path, plan: Plan, products: list[str]) -> None:
    options = {k: v.isoformat() if isinstance(v, date) else v for k, v in asdict(plan).items()}
    (folder / MARKER).write_text(json.dumps({"options": options, "products": products}, indent=2) + "\n")
