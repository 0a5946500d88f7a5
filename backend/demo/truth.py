"""Truth layers beside the products: what the ground and the sky really were."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.demo.observe import Acquisition, Place, blocks, coarsen
from backend.demo.raster import Layout, Raster
from backend.demo.scene import Block, Statics, Truth
from backend.demo.spectra import S2_BANDS, S2_RESOLUTION

FLAT = Layout(cog=False)

LAYERS = {
    # name: (dtype, scale of the stored integers)
    "cloud_optical_depth": ("uint16", 1e-3),
    "cirrus_optical_depth": ("uint16", 1e-3),
    "shadow": ("uint8", 1e-2),
    "relief_shadow": ("uint8", 1e-2),
    "snow_fraction": ("uint8", 1e-2),
    "ndvi": ("int16", 1e-4),
    "aot": ("uint16", 1e-4),
    "vapour": ("uint16", 1e-3),
    "detector": ("uint8", 1.0),
}
"""Layers of one date at 10 m: value = stored integer x scale (the files carry the scale too)."""

README = """Truth of a synthetic archive
============================

One folder per tile window (the same for every product family that covers it). All values = stored integer x scale;
the scale is in the files. Grids are those of the products (10 m, and 20 m or 60 m for the coarser bands).

TILE/static/   elevation.tif (m), land_cover.tif (codes in land_cover.txt), parcel.tif (one number per field),
               tree_cover.tif (%), wet.tif (% of the pixel under water)
TILE/DATE/     reflectance_10m/20m/60m.tif: reflectance of flat clear ground, no shadow, no cloud, no noise; one band each
               (seen from above, where the archive has directional effects)
               cloud_optical_depth.tif, cirrus_optical_depth.tif: in the line of sight
               shadow.tif: share of the direct sunlight that clouds take; relief_shadow.tif: that the relief takes
               snow_fraction.tif, ndvi.tif (of the clear ground), aot.tif (550 nm), vapour.tif (g/cm2)
               detector.tif: 0 outside the swath
"""


def quantise(values: NDArray, dtype: str, scale: float) -> NDArray:
    """Round to the stored integers, held in their range."""
    info = np.iinfo(dtype)
    return np.clip(np.rint(values / scale), info.min, info.max).astype(dtype)


class TruthSink:
    """Writes the truth of one acquisition.

    Parameters
    ----------
    folder : where to
    acquisition : what of
    bands : bands (Sentinel-2 names) of the products that it is for
    resolution : metres per pixel of everything, where that is not each band's own and 10 m for the other layers
    """

    def __init__(
        self, folder: Path, acquisition: Acquisition, bands: tuple[str, ...], resolution: int | None = None
    ) -> None:
        tile = acquisition.tile
        self._stack = ExitStack()
        self._groups: dict[int, list[str]] = {}
        self._coarse = (resolution or 10) // 10
        for band in bands:
            self._groups.setdefault(resolution or S2_RESOLUTION[band], []).append(band)
        self._files: dict[str, Raster] = {}

        def enter(name: str, metres: int, dtype: str, scale: float, names: list[str]) -> None:
            transform, size = tile.resized(metres)
            path = folder / f"{name}.tif"
            file = Raster(path, tile.epsg, transform, size, dtype, len(names), layout=FLAT, scale=scale, names=names)
            self._files[name] = self._stack.enter_context(file)

        for metres, names in self._groups.items():
            enter(f"reflectance_{metres}m", metres, "int16", 1e-4, names)
        for name, (dtype, scale) in LAYERS.items():
            enter(name, resolution or 10, dtype, scale, [name])

    def add(self, block: Block, ground: Statics, truth: Truth) -> None:
        """Write one block."""
        row, col, _, _ = block
        for metres, names in self._groups.items():
            factor = metres // 10
            bands = np.stack([coarsen(truth.rho[S2_BANDS.index(b)], factor) for b in names])
            self._files[f"reflectance_{metres}m"].write(quantise(bands, "int16", 1e-4), row // factor, col // factor)
        layers = {
            "cloud_optical_depth": truth.cloud, "cirrus_optical_depth": truth.cirrus, "shadow": truth.shade,
            "relief_shadow": truth.relief_shade, "snow_fraction": truth.snow, "ndvi": truth.ndvi, "aot": truth.aot,
            "vapour": truth.vapour,
        }  # fmt: skip
        k = self._coarse
        for name, values in layers.items():
            self._files[name].write(
                quantise(coarsen(values, k) if k > 1 else values, *LAYERS[name]), row // k, col // k
            )
        self._files["detector"].write(truth.detector[::k, ::k], row // k, col // k)

    def close(self, error: BaseException | None) -> None:
        """Finish the files."""
        self._stack.__exit__(type(error) if error else None, error, None)


def write_static(folder: Path, place: Place) -> None:
    """Write what does not change: elevation, land cover, parcels, tree cover, water."""
    grid = place.grid
    kinds = {"elevation": "float32", "land_cover": "uint8", "parcel": "uint32", "tree_cover": "uint8", "wet": "uint8"}
    with ExitStack() as stack:
        files = {
            k: stack.enter_context(Raster(folder / f"{k}.tif", grid.epsg, grid.transform, grid.size, t, layout=FLAT))
            for k, t in kinds.items()
        }
        for block in blocks(grid.size):
            found = place.statics(block)
            values = {
                "elevation": found.z, "land_cover": found.code, "parcel": found.parcel, "tree_cover": found.trees,
                "wet": found.wet,
            }  # fmt: skip
            for name, layer in values.items():
                files[name].write(layer, block[0], block[1])


def write_rasters(folder: Path, name: str, place: Place, layout: Layout) -> None:
    """Write the static rasters of the archive: DEM (m, float32), TCD (tree cover, %), WATER (1 water, 0 land), 10 m."""
    grid = place.grid
    kinds: dict[str, tuple[str, float | None, str | None]] = {
        "DEM": ("float32", -32768, "AVERAGE"), "TCD": ("uint8", 255, "AVERAGE"), "WATER": ("uint8", 255, None),
    }  # fmt: skip
    with ExitStack() as stack:
        files = {
            k: stack.enter_context(
                Raster(
                    folder / f"{k}_{name}.tif", grid.epsg, grid.transform, grid.size, dtype,
                    layout=layout, nodata=nodata, resampling=resampling, names=[k],
                )
            )
            for k, (dtype, nodata, resampling) in kinds.items()
        }  # fmt: skip
        for block in blocks(grid.size):
            found = place.statics(block)
            values = {"DEM": found.z, "TCD": found.trees, "WATER": (found.wet >= 50).astype(np.uint8)}
            for key, layer in values.items():
                files[key].write(layer, block[0], block[1])
