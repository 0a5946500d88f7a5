"""Surface reflectance at full resolution against the equations written out in double precision."""

from __future__ import annotations

import numpy as np
import pytest

from processes.maja.surface import NODATA, Atmosphere, Terrain, direction, surface_reflectance

SUN, VIEW = direction(44, 150), direction(7, 105)
STEP = 12


def smooth(rng: np.random.Generator, nodes: tuple[int, int], low: float, high: float) -> np.ndarray:
    """Low-order surface between two values."""
    y, x = np.linspace(0, 1, nodes[0])[:, None], np.linspace(0, 1, nodes[1])[None]
    a, b, c = rng.uniform(0, 2 * np.pi, 3)
    values = (np.sin(2 * y + a) + np.sin(2 * x + b) + np.sin(y + x + c) + 3) / 6
    return (low + (high - low) * values).astype(np.float32)


def atmosphere(rng: np.random.Generator, nodes: tuple[int, int]) -> Atmosphere:
    ranges = [(0.85, 0.97), (0.02, 0.1), (0.05, 0.18), (0.03, 0.4), (0.6, 0.85), (0.08, 0.2), (0.5, 0.75), (0.1, 0.3)]
    return Atmosphere(*(smooth(rng, nodes, *r) for r in ranges))


def at_pixels(grid: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Bilinear interpolation of nodes every STEP pixels, double precision."""
    y, x = (np.minimum(np.arange(n) / STEP, m - 1) for n, m in zip(shape, grid.shape, strict=True))
    top, left = (np.minimum(v.astype(int), m - 2) for v, m in zip((y, x), grid.shape, strict=True))
    fy, fx = (y - top)[:, None], (x - left)[None]
    g = grid.astype(np.float64)
    corner = [g[np.ix_(top + i, left + j)] for i in (0, 1) for j in (0, 1)]
    return (corner[0] * (1 - fx) + corner[1] * fx) * (1 - fy) + (corner[2] * (1 - fx) + corner[3] * fx) * fy


def seen_from_space(truth: np.ndarray, a: dict[str, np.ndarray]) -> np.ndarray:
    """Reflectance at top of atmosphere of a flat surface: the forward model, written out."""
    down = a["down_direct"] + a["down_diffuse"]
    ground = truth * a["up_direct"] + a["around"] * a["up_diffuse"]
    return a["gas"] * (a["path"] + down / (1 - a["around"] * a["albedo"]) * ground)


def sloped(sre: np.ndarray, terrain: Terrain, a: dict[str, np.ndarray]) -> np.ndarray:
    """The slope equation, written out."""
    sun, view = terrain.sun.astype(float), terrain.view.astype(float)
    e, n = terrain.east.astype(float), terrain.north.astype(float)
    up = 1 / np.sqrt(1 + e**2 + n**2)
    incidence = np.maximum((sun[2] - e * sun[0] - n * sun[1]) * up, 0.2)
    leaving = np.maximum((view[2] - e * view[0] - n * view[1]) * up, 0.1)
    total = a["down_direct"] + a["down_diffuse"]
    sky, ground = (1 + up) / 2, (1 - up) / 2
    light = a["down_direct"] * incidence / sun[2] + a["down_diffuse"] * sky + total * a["around"] * ground
    fre = sre * total * (incidence + leaving) / (sun[2] + view[2]) / light
    return np.where(sre < 0, sre, fre)


@pytest.fixture(scope="module")
def scene():
    rng = np.random.default_rng(5)
    shape = (97, 133)
    air = atmosphere(rng, (10, 13))
    pixels = {name: at_pixels(getattr(air, name), shape) for name in vars(air)}
    truth = rng.uniform(0.01, 0.6, shape)
    dn = np.rint(seen_from_space(truth, pixels) * 10000 + 1000).astype(np.uint16)
    rise = [np.tan(np.radians(rng.uniform(-35, 35, shape))).astype(np.float32) for _ in range(2)]
    return air, pixels, truth, dn, Terrain(*rise, SUN, VIEW)


def test_the_forward_model_is_undone(scene):
    air, _, truth, dn, _ = scene
    out = surface_reflectance(dn, air.grids(1e-4, SUN, VIEW), STEP, offset=-1000)
    assert out.fre is None
    # half a digital number over the two-way transmission, plus what interpolating a product leaves
    assert np.abs(out.sre / 10000 - truth).max() < 4e-4
    nodes = (slice(None, None, STEP), slice(None, None, STEP))
    assert np.abs(out.sre / 10000 - truth)[nodes].max() < 2.5e-4


def test_slopes_follow_the_equation(scene):
    air, pixels, truth, dn, terrain = scene
    out = surface_reflectance(dn, air.grids(1e-4, SUN, VIEW), STEP, offset=-1000, terrain=terrain)
    expected = sloped(truth, terrain, pixels)
    assert np.abs(out.fre / 10000 - expected).max() < 2e-3 * max(1, expected.max())
    low = (SUN[2] - terrain.east * SUN[0] - terrain.north * SUN[1]) / np.sqrt(1 + terrain.east**2 + terrain.north**2)
    assert np.array_equal(out.flags & 1, (low < 0.2).astype(np.uint8))
    assert np.array_equal(out.flags >> 1, (low < 0.2 * SUN[2]).astype(np.uint8))
    assert (out.flags == 3).any()


def test_flat_ground_stays_as_it_is(scene):
    air, _, _, dn, _ = scene
    zero = np.zeros(dn.shape, np.float32)
    out = surface_reflectance(
        dn, air.grids(1e-4, SUN, VIEW), STEP, offset=-1000, terrain=Terrain(zero, zero, SUN, VIEW)
    )
    assert np.array_equal(out.fre, out.sre)
    assert not out.flags.any()


def test_uniform_surroundings_give_the_uniform_inverse():
    """Where the surroundings have the pixel's own reflectance: rho = v / (1 + s v)."""
    one = [np.full((2, 2), v, np.float32) for v in (0.9, 0.05, 0.12, 0.25, 0.7, 0.15, 0.6, 0.2)]
    air = Atmosphere(*one)
    toa = seen_from_space(np.array([[0.25]]), {k: v[:1, :1].astype(float) for k, v in vars(air).items()})
    v = (toa / 0.9 - 0.05) / (0.85 * 0.8)
    assert v / (1 + 0.12 * v) == pytest.approx(0.25, abs=1e-6)
    out = surface_reflectance(np.rint(toa * 10000).astype(np.int16), air.grids(1e-4, SUN, VIEW), 24)
    assert out.sre[0, 0] == pytest.approx(2500, abs=2)


def test_blocks_equal_the_whole(scene):
    air, _, _, dn, terrain = scene
    grids = air.grids(1e-4, SUN, VIEW)
    whole = surface_reflectance(dn, grids, STEP, offset=-1000, terrain=terrain)
    for y0, x0, h, w in [(0, 0, 40, 50), (40, 31, 57, 102), (13, 7, 1, 1), (96, 132, 1, 1)]:
        cut = np.s_[y0 : y0 + h, x0 : x0 + w]
        piece = Terrain(terrain.east[cut], terrain.north[cut], SUN, VIEW)
        part = surface_reflectance(dn[cut], grids, STEP, (y0, x0), -1000, terrain=piece)
        assert np.array_equal(part.sre, whole.sre[cut])
        assert np.array_equal(part.fre, whole.fre[cut])
        assert np.array_equal(part.flags, whole.flags[cut])


def test_missing_and_extreme_values(scene):
    air, _, _, _, _ = scene
    dn = np.array([[0, 65535, 1, 1000]], np.uint16)
    terrain = Terrain(np.full((1, 4), 0.3, np.float32), np.full((1, 4), -0.2, np.float32), SUN, VIEW)
    out = surface_reflectance(dn, air.grids(1e-4, SUN, VIEW), STEP, offset=-1000, terrain=terrain)
    assert out.sre[0, 0] == out.fre[0, 0] == NODATA
    assert out.sre[0, 1] == out.fre[0, 1] == 32767
    assert -10000 < out.sre[0, 2] < 0
    assert out.fre[0, 2] == out.sre[0, 2]  # negative reflectance is not turned


def test_wrong_shapes_are_refused(scene):
    air, _, _, dn, terrain = scene
    grids = air.grids(1e-4, SUN, VIEW)
    with pytest.raises(ValueError, match="positive number of pixels"):
        surface_reflectance(dn, grids, 0)
    with pytest.raises(ValueError, match="do not fit a block"):
        surface_reflectance(dn[:5], grids, STEP, terrain=terrain)
    with pytest.raises(ValueError, match="share one two-dimensional shape"):
        Atmosphere(*[np.ones((2, 2))] * 7, np.ones((2, 3)))
