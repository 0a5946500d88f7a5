"""One block of a tile: every date of it read, weighed, averaged and written, both resolutions together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from rasterio.windows import Window

from processes.kernels.dn import take
from processes.kernels.wasp_planes import classify_plane
from processes.wasp.composite import CLOUD, NODATA, SNOW, WATER, Block, fallback, guides, halved, synthesise, with_dark
from processes.wasp.levels import TYPICAL_AOT, known_aot
from processes.wasp.plan import Plan, halved_window
from processes.wasp.product import Group, ProductWriter
from processes.wasp.sources import Acquisition, Reader
from processes.wasp.weights import Weighting, aerosol_weight


def do_block(plan: Plan, readers: Mapping[str, Reader], writer: ProductWriter, window: Window) -> None:
    """Make and write the block at ``window`` of the fine grid."""
    fine = _fine_block(plan, readers["R1"], window)
    result = synthesise(fine, plan.dates, plan.synthesis, plan.options)
    writer.write(plan.groups[0], window, result)
    if len(plan.groups) > 1:
        group, half = plan.groups[1], halved_window(window)
        coarse = _half_block(plan, group, readers[group.name], half, fine)
        writer.write(group, half, synthesise(coarse, plan.dates, plan.synthesis, plan.options))


def _read_bands(plan: Plan, group: Group, reader: Reader, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Reflectance x 10000 (T, B, h, w) int16, -10000 for nodata, and which band each date has (T, B)."""
    shape = len(plan.acquisitions), len(group.bands)
    dn = np.empty((*shape, int(window.height), int(window.width)), np.int16)
    present = np.zeros(shape, bool)
    for t, a in enumerate(plan.acquisitions):
        for b, band in enumerate(group.bands):
            if band in a.bands:
                reader.reflectance(a.bands[band], window, dn[t, b])
                present[t, b] = True
            else:
                dn[t, b] = NODATA
    return dn, present


def _fine_block(plan: Plan, reader: Reader, window: Window) -> Block:
    group, options = plan.groups[0], plan.options
    dn, present = _read_bands(plan, group, reader, window)
    dates, height, width = len(dn), int(window.height), int(window.width)
    cls, weight = np.empty((dates, height, width), np.uint8), np.empty((dates, height, width), np.float32)
    origin = int(window.row_off), int(window.col_off)
    aerosols = Aerosols(plan, height, width)
    for t, a in enumerate(plan.acquisitions):
        held: dict[str, np.ndarray] = {}
        cloud, water, snow = (reader.mask(m, window, held) for m in (a.cloud, a.water, a.snow))
        classify_plane(dn[t], cloud, water, snow, cls[t])
        plan.coarse.weight(*plan.fields[t], aerosols.take(t, a, reader, window), plan.scales[t], *origin, weight[t])
        if plan.rims is not None:
            plan.rims.fade(plan.unseen[t], *origin, weight[t])
    blue = group.bands.index(plan.sensor.blue)
    block = Block(
        dn, cls, dn[:, blue], weight, plan.factors["R1"], plan.factors["blue"], present, origin,
        plan.node_step / abs(group.grid.resolution.x),
    )  # fmt: skip
    if options.mode == "wasp1":
        return block
    if plan.levels:
        level = aerosols.levels("R1")
        block = replace(block, level=level, blue_level=level[:, blue], aot=aerosols.planes)
    guide = guides(block)
    block = replace(block, guide=guide, complete=np.asarray(present.all(axis=1)).reshape(-1, 1, 1))
    if options.robust and plan.sensor.nir in group.bands:
        block = with_dark(block, group.bands.index(plan.sensor.nir))
    # with a second resolution the date of a pixel never seen clear is chosen per coarse pixel, once for all bands
    cell = 2 if len(plan.groups) > 1 else 1
    return replace(block, choice=fallback(block, guide, cell), cell=cell)


def _half_block(plan: Plan, group: Group, reader: Reader, window: Window, fine: Block) -> Block:
    """The block at half resolution: weights averaged, classes of the nearest (lower right) pixel, blue averaged."""
    dn, present = _read_bands(plan, group, reader, window)
    cls = np.ascontiguousarray(fine.cls[:, 1::2, 1::2])
    for t in range(len(cls)):
        nothing = cls[t] == 0
        classify_plane(dn[t], cls[t] == CLOUD, cls[t] == WATER, cls[t] == SNOW, cls[t])
        cls[t][nothing] = 0
    guide, dark = (None if plane is None else halved(plane) for plane in (fine.guide, fine.dark))
    # blue decides by ``guide`` where there is one
    blue = fine.blue if guide is not None else np.nan_to_num(halved(fine.blue, NODATA), nan=NODATA)
    block = Block(
        dn, cls, blue, halved(fine.weight), plan.factors[group.name],
        plan.factors["blue"], present, (int(window.row_off), int(window.col_off)),
        plan.node_step / abs(group.grid.resolution.x), fine.choice, 1, guide, dark,
    )  # fmt: skip
    if fine.aot is None:
        return block
    aerosols = Aerosols(plan, *cls.shape[1:])
    return replace(block, level=aerosols.levels(group.name), aot=np.ascontiguousarray(fine.aot[:, 1::2, 1::2]))


class Aerosols:
    """Aerosol optical thickness of a block: its weight, and the planes that levelling multiplies.

    ``planes`` (T, h, w) are codes (uint8) as products store them where all do, else optical thickness (float32); 0 where
    a product does not tell.
    """

    def __init__(self, plan: Plan, height: int, width: int):
        self._plan = plan
        told = [a.aot for a in plan.acquisitions if a.aot is not None]
        self._coded = all(np.dtype(b.dtype) == np.uint8 for b in told)
        shape = (len(plan.acquisitions), height, width) if plan.levels else (0, 0, 0)
        self.planes = np.zeros(shape, np.uint8 if self._coded else np.float32)

    def take(self, t: int, a: Acquisition, reader: Reader, window: Window) -> np.ndarray:
        """Read the aerosol of date ``t``. Returns its weight, float32 (h, w), or (1, 1) where the product has none."""
        weighting: Weighting = self._plan.options.weighting
        if a.aot is None:
            return np.ones((1, 1), np.float32)
        dn = reader.read(a.aot, window, smooth=False)
        if self._plan.levels:
            self.planes[t] = dn if self._coded else known_aot((dn + a.aot.offset_dn) * a.aot.scale)
        if dn.dtype == np.uint8:
            offset = np.float32(a.aot.offset_dn * a.aot.scale)
            codes = np.arange(256, dtype=np.float32) / np.float32(1 / a.aot.scale) + offset
            out = np.empty(dn.shape, np.float32)
            take(np.ascontiguousarray(dn).reshape(-1), aerosol_weight(codes, weighting), out.reshape(-1))
            return out
        return aerosol_weight((dn + a.aot.offset_dn) * a.aot.scale, weighting)

    def levels(self, name: str) -> np.ndarray:
        """Levels of a group per unit of ``planes``."""
        level = self._plan.levels[name].copy()
        for t, a in enumerate(self._plan.acquisitions):
            if a.aot is None:
                level[t, ..., 0] += level[t, ..., 1] * np.float32(TYPICAL_AOT)
                level[t, ..., 1] = 0
            elif self._coded:
                level[t, ..., 0] += level[t, ..., 1] * np.float32(a.aot.offset_dn * a.aot.scale)
                level[t, ..., 1] *= np.float32(a.aot.scale)
        return level
