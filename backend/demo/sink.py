"""What the writers of products share: a folder of rasters that appears under its name only when it is complete."""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from backend.demo.observe import Acquisition
from backend.demo.raster import Raster


class ProductSink(ABC):
    """Writes the product ``name`` into ``archive``."""

    def __init__(self, archive: Path, name: str, acquisition: Acquisition) -> None:
        self.acquisition, self.name = acquisition, name
        self.final, self.folder = archive / name, archive / f".{name}.part"
        shutil.rmtree(self.folder, ignore_errors=True)
        self._stack = ExitStack()
        self._files: dict[str, Raster] = {}

    def _open(self, key: str, path: str, resolution: int, dtype: str, count: int = 1, **options: Any) -> None:
        """Begin a raster of the tile at ``path`` in the product; ``options`` as of `Raster`."""
        tile = self.acquisition.tile
        transform, size = tile.resized(resolution)
        file = Raster(self.folder / path, tile.epsg, transform, size, dtype, count, **options)
        self._files[key] = self._stack.enter_context(file)

    def close(self, error: BaseException | None) -> None:
        """Finish the product, or with an error remove what there is of it."""
        if error is not None:
            self._stack.__exit__(type(error), error, None)
            shutil.rmtree(self.folder, ignore_errors=True)
            return
        self._stack.close()
        self._finish()
        shutil.rmtree(self.final, ignore_errors=True)
        self.folder.rename(self.final)

    @abstractmethod
    def _finish(self) -> None:
        """Write what goes beside the rasters, which are complete."""
