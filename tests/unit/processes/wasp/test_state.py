"""Syntheses continued date by date: equal to the batch, through a file that trusts nobody."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from processes import registry
from processes.errors import ProcessError
from processes.wasp import SynthesisState, continue_synthesis, load_state, save_state, wasp_synthesis
from processes.wasp.composite import Options, average
from processes.wasp.state_file import VERSION
from tests.bench.wasp_scenes import BANDS, make_scene
from tests.bench.wasp_truth import block_of
from tests.unit.processes.wasp.helpers import cube

SMALL = make_scene(11, size=96, dates=5)
DAYS = [(d - SMALL.synthesis).days for d in SMALL.dates]
AOT = np.rint(SMALL.aot * 200) / np.float32(200)


def small_cube(dates: list[int]) -> xr.DataArray:
    return cube(SMALL.dn[dates], SMALL.cloud[dates], [SMALL.dates[i] for i in dates], list(BANDS), AOT=AOT[dates],
                WATER=SMALL.water[dates], SNOW=SMALL.snow[dates])  # fmt: skip


@pytest.mark.parametrize(("robust", "level"), [(False, False), (True, False), (False, True), (True, True)])
def test_dates_added_later_equal_the_batch(tmp_path, robust, level):
    options = Options.of(brdf="none", robust=robust, level=level)
    made = block_of(SMALL, options)
    state = SynthesisState(SMALL.synthesis, options, BANDS, (96, 96), nir="B08")

    def add(t: int) -> None:
        state.add(SMALL.dates[t], made.dn[t], made.cls[t], made.weight[t], AOT[t])

    for t in (3, 0, 4):
        add(t)
    save_state(state, tmp_path / "state.npz")
    state = load_state(tmp_path / "state.npz")
    assert state.options == options
    for t in (1, 2):
        add(t)
    batch, later = average(made, DAYS, options), state.result()
    for name in ("refl", "flag", "weight", "date", "clear"):
        np.testing.assert_array_equal(getattr(later, name), getattr(batch, name), err_msg=name)
    with pytest.raises(ProcessError, match="outside the window"):
        state.add(SMALL.synthesis + timedelta(days=40), made.dn[0], made.cls[0], made.weight[0])
    with pytest.raises(ProcessError, match="already"):
        add(1)


@pytest.mark.parametrize("parameters", [{}, {"robust": False, "level": False}, {"weights": {"aot_max": 0.6}}])
def test_a_continued_cube_equals_the_process(tmp_path, parameters):
    """Three dates, saved; two more later: what the openEO process makes of all five, digit by digit."""
    process = registry.get("wasp_synthesis").function
    whole = process(small_cube([0, 1, 2, 3, 4]), date="2018-05-02", **parameters)
    first, state = continue_synthesis(small_cube([0, 2, 3]), date="2018-05-02", **parameters)
    xr.testing.assert_equal(first, process(small_cube([0, 2, 3]), date="2018-05-02", **parameters))
    save_state(state, tmp_path / "may.npz")
    made, _ = continue_synthesis(small_cube([1, 4]), load_state(tmp_path / "may.npz"))
    xr.testing.assert_equal(made, whole)
    assert made.attrs["derived_from"] == whole.attrs["derived_from"]


def test_a_continued_cube_equals_the_lazy_process():
    data = small_cube([0, 1, 2, 3, 4])
    made, state = continue_synthesis(data.isel(t=[0, 1, 2]), date="2018-05-02", brdf="none")
    made, _ = continue_synthesis(data.isel(t=[3, 4]).chunk({"y": 50}), state)
    lazy = wasp_synthesis(data.chunk({"t": 1, "y": 40, "x": 64}), date="2018-05-02", brdf="none")
    xr.testing.assert_equal(made, lazy.compute(scheduler="sync"))


def test_other_grids_bands_and_parameters_are_refused():
    _, state = continue_synthesis(small_cube([0, 1]), date="2018-05-02")
    moved = small_cube([2]).assign_coords(x=lambda d: d.x + 10)
    for data, parameters in ((moved, {}), (small_cube([2]).isel(bands=slice(1, None)), {}),
                             (small_cube([2]).isel(y=slice(0, 90)), {}), (small_cube([2]), {"robust": False}),
                             (small_cube([2]), {"date": "2018-05-03"})):  # fmt: skip
        with pytest.raises(ProcessError) as error:
            continue_synthesis(data, state, **parameters)
        assert error.value.code == "ProcessParameterInvalid"
    far = small_cube([2]).assign_coords(t=[np.datetime64("2019-01-01", "ns")])
    with pytest.raises(ProcessError) as error:
        continue_synthesis(far, state)
    assert error.value.code == "NoDataAvailable"
    with pytest.raises(ProcessError):
        SynthesisState(SMALL.synthesis, Options.of(mode="wasp1"), BANDS, (4, 4))
    with pytest.raises(ProcessError, match="No date"):
        SynthesisState(SMALL.synthesis, Options.of(), BANDS, (4, 4)).result()


# ---- files that were not written by `save_state`


def saved(path: Path, **parameters: object) -> Path:
    options = Options.of(**({"robust": False, "level": False} | parameters))  # type: ignore[arg-type]
    state = SynthesisState(SMALL.synthesis, options, BANDS, (8, 8), nir="B08")
    state.add(SMALL.dates[0], SMALL.dn[0, :, :8, :8], np.full((8, 8), 4, np.uint8), np.ones((8, 8), np.float32))
    save_state(state, path)
    return path


def rewritten(path: Path, **members: bytes | None) -> Path:
    """The file with members replaced (None: left out)."""
    with zipfile.ZipFile(path) as file:
        held = {n.removesuffix(".npy"): file.read(n) for n in file.namelist()} | members
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in held.items():
            if data is not None:
                file.writestr(f"{name}.npy", data)
    return path


def npy(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=True)
    return out.getvalue()


def head_of(path: Path, **changes: object) -> bytes:
    with zipfile.ZipFile(path) as file:
        head = json.loads(np.load(io.BytesIO(file.read("head.npy"))).tobytes())
    return npy(np.frombuffer(json.dumps(head | changes).encode(), np.uint8))


class Bomb:
    def __reduce__(self):
        return (Path.touch, (Path("executed"),))


def test_hostile_files_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = saved(tmp_path / "state.npz")
    good = made.read_bytes()
    assert load_state(made).names == [SMALL.dates[0].isoformat()]
    cases: dict[str, dict[str, bytes | None]] = {
        "pickle": {"land_v": npy(np.array([Bomb()], dtype=object))},
        "raw pickle": {"land_v": pickle.dumps(Bomb())},
        "missing array": {"land_w": None},
        "foreign array": {"more": npy(np.zeros(3))},
        "other dtype": {"land_w": npy(np.zeros((8, 8), np.float32))},
        "other shape": {"land_w": npy(np.zeros((8, 9)))},
        "cut short": {"land_w": npy(np.zeros((8, 8)))[:-8]},
        "older version": {"head": head_of(made, version=VERSION - 1)},
        "huge": {"head": head_of(made, shape=[10**6, 10**6])},
        "negative": {"head": head_of(made, shape=[-8, -8])},
        "no options": {"head": head_of(made, options={})},
        "wrong options": {"head": head_of(made, options={"half_window": -3})},
        "no JSON": {"head": npy(np.frombuffer(b"{" * 5000, np.uint8))},
        "deep JSON": {"head": npy(np.frombuffer(b"[" * 200_000, np.uint8))},
        "no head": {"head": None},
        "other bands": {"head": head_of(made, bands=["B02", "B08"])},
        "wrong date": {"head": head_of(made, synthesis="soon")},
        "blue not there": {"head": head_of(made, blue="B01")},
    }
    for name, members in cases.items():
        made.write_bytes(good)
        rewritten(made, **members)
        with pytest.raises(ProcessError) as error:
            load_state(made)
        assert error.value.code in ("StorageFailure", "ProcessParameterInvalid"), name
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("content", [b"nothing", b"", b"PK\x03\x04 and no more", npy(np.zeros(4))])
def test_what_is_no_state_is_told(tmp_path, content):
    (tmp_path / "state.npz").write_bytes(content)
    with pytest.raises(ProcessError) as error:
        load_state(tmp_path / "state.npz")
    assert error.value.code == "StorageFailure"
    with pytest.raises(ProcessError):
        load_state(tmp_path / "absent.npz")


def test_a_file_appears_whole(tmp_path, monkeypatch):
    made = saved(tmp_path / "state.npz", robust=True)
    before = made.read_bytes()

    def fails(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez_compressed", fails)
    with pytest.raises(OSError, match="disk full"):
        saved(tmp_path / "state.npz")
    assert made.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["state.npz"]
