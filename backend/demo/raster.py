"""Writing rasters block by block: Cloud-Optimised GeoTIFF, striped GeoTIFF, JPEG 2000, JPEG.

A file is first filled uncompressed (in memory where small, else beside its place), then copied by GDAL into its final
form in one pass; so blocks may come in any order and memory stays bounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine
from numpy.typing import NDArray
from PIL import Image
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile

Compression = Literal["deflate", "zstd", "none"]
IN_MEMORY = 48 << 20
BLOCK = 512


@dataclass(frozen=True)
class Layout:
    """How GeoTIFF files are laid out: tiled with overviews (COG) or in strips as the producer's own files."""

    cog: bool = True
    compression: Compression = "deflate"


DEFAULT_LAYOUT = Layout()


class Raster:
    """One raster file being written; a context manager.

    Parameters
    ----------
    path : final file; its folder is made
    epsg, transform, size : grid; `size` pixels square, or (height, width)
    dtype, count : of the bands
    driver : ``GTiff`` (laid out as `layout` says) or ``JP2OpenJPEG`` (lossless)
    nodata : stored as the file's nodata value where given
    resampling : how overviews are made; None for classes and masks (nearest)
    scale : stored as the bands' scale where given
    names : descriptions of the bands
    """

    def __init__(
        self,
        path: Path,
        epsg: int,
        transform: Affine,
        size: int | tuple[int, int],
        dtype: str,
        count: int = 1,
        *,
        layout: Layout | None = None,
        driver: str = "GTiff",
        nodata: float | None = None,
        resampling: str | None = None,
        scale: float | None = None,
        names: Sequence[str] = (),
    ) -> None:
        height, width = (size, size) if isinstance(size, int) else size
        self.path, self._driver, self._layout, self._resampling = path, driver, layout or Layout(), resampling
        path.parent.mkdir(parents=True, exist_ok=True)
        profile: dict[str, Any] = {
            "driver": "GTiff", "width": width, "height": height, "count": count, "dtype": dtype, "nodata": nodata,
            "crs": f"EPSG:{epsg}", "transform": transform, "BIGTIFF": "IF_SAFER",
        }  # fmt: skip
        self._memory: MemoryFile | None = None
        self._part = path.with_name(path.name + ".part")
        if width * height * count * np.dtype(dtype).itemsize <= IN_MEMORY:
            self._memory = MemoryFile()
            self._file = self._memory.open(**profile)
        else:
            self._file = rasterio.open(self._part, "w", **profile)
        if scale is not None:
            self._file.scales = [scale] * count
        for k, name in enumerate(names, 1):
            self._file.set_band_description(k, name)

    def write(self, values: NDArray, row: int, col: int) -> None:
        """Put a block of (h, w) or (bands, h, w) values at a pixel position."""
        if values.ndim == 2:
            values = values[None]
        window = rasterio.windows.Window(col, row, values.shape[2], values.shape[1])
        self._file.write(values, window=window)

    def __enter__(self) -> Raster:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        name = self._memory.name if self._memory else self._part
        self._file.close()
        try:
            if kind is None:
                # no .aux.xml beside what says everything itself
                with rasterio.Env(GDAL_PAM_ENABLED=False):
                    rasterio.shutil.copy(name, self.path, **self._options())
        except (RasterioError, CPLE_BaseError) as problem:
            # GDAL's own errors do not cross process boundaries
            raise OSError(f"{self.path.name}: {problem}") from None
        finally:
            if self._memory:
                self._memory.close()
            self._part.unlink(missing_ok=True)

    def _options(self) -> dict[str, Any]:
        dtype = self._file.dtypes[0]
        if self._driver == "JP2OpenJPEG":
            # 5/3 wavelet, quality 100: bit-exact
            return {
                "driver": "JP2OpenJPEG", "REVERSIBLE": "YES", "QUALITY": "100", "BLOCKXSIZE": 1024, "BLOCKYSIZE": 1024,
                "YCBCR420": "NO", "YCC": "NO", "GMLJP2": "YES", "GeoJP2": "YES",
            }  # fmt: skip
        packed = self._layout.compression
        if not self._layout.cog:
            options: dict[str, Any] = {"driver": "GTiff", "COMPRESS": packed.upper(), "BIGTIFF": "IF_SAFER"}
            if packed != "none":
                options["PREDICTOR"] = 1 if dtype == "uint8" else 3 if dtype.startswith("float") else 2
            return options
        resampling = self._resampling or "NEAREST"
        return {
            "driver": "COG", "COMPRESS": packed.upper(), "BLOCKSIZE": BLOCK, "BIGTIFF": "IF_SAFER",
            "PREDICTOR": "NO" if dtype == "uint8" or packed == "none" else "YES",
            "OVERVIEW_RESAMPLING": resampling, "RESAMPLING": resampling,
        }  # fmt: skip


def write_rgb(path: Path, image: NDArray) -> None:
    """Write (3, h, w) uint8 values as a JPEG without georeference."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(np.moveaxis(image, 0, -1))).save(path, "JPEG", quality=85)
