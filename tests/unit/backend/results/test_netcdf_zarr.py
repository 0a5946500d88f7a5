"""netCDF and Zarr: the same variables, read back by the libraries users have."""

from __future__ import annotations

from pathlib import Path

import netCDF4
import numpy as np
import pytest
import rasterio
import rioxarray  # noqa: F401  (accessor)
import xarray as xr
import zarr

from backend.errors import OpenEOError
from backend.results import write
from processes.save.save_result import SaveResult
from tests.unit.backend.results.conftest import DATES, MakeCube


def reread(path: Path, **kwargs) -> xr.Dataset:
    if path.name.endswith(".zip"):
        return xr.open_zarr(zarr.storage.ZipStore(path, mode="r"), **kwargs)
    return xr.open_dataset(path, **kwargs)


@pytest.mark.parametrize("name", ["netCDF", "NETCDF", "Zarr"])
@pytest.mark.parametrize(("dtype", "nodata"), [("f4", None), ("i2", -10000), ("u1", 255), ("f8", None)])
def test_every_pixel_comes_back(
    tmp_path: Path, make_cube: MakeCube, name: str, dtype: str, nodata: float | None
) -> None:
    cube = make_cube(dtype=dtype, nodata=nodata)
    [asset] = write([SaveResult(cube, name)], tmp_path, threads=3)
    raw = reread(asset.path, mask_and_scale=False)
    for n, band in enumerate(["B04", "B03", "B02"]):
        np.testing.assert_array_equal(raw[band].values, cube.values[:, n])
        assert raw[band].dtype == cube.dtype and raw[band].dims == ("t", "y", "x")
    decoded = reread(asset.path)
    assert np.isnan(decoded["B04"].values[:, :40, :50]).all()
    np.testing.assert_array_equal(decoded["t"].values, DATES)
    np.testing.assert_array_equal(decoded["y"].values, cube["y"].values)
    # the reference system is a data variable, so that readers count bands right
    assert set(decoded.data_vars) == {"B04", "B03", "B02", "crs"} and set(decoded.coords) == {"t", "y", "x"}
    found = reread(asset.path, decode_coords="all")
    assert found["B04"].rio.crs.to_epsg() == 32631 and found["B04"].rio.transform()[:6] == (
        10,
        0,
        300000,
        0,
        -10,
        4900020,
    )
    assert asset.properties["start_datetime"] == "2024-06-01T10:50:31Z"
    assert asset.cube["bands"]["values"] == ["B04", "B03", "B02"]
    assert asset.metadata["bands"][0]["statistics"]["maximum"] == np.nanmax(
        np.where(cube.values[:, 0] == nodata, np.nan, cube.values[:, 0].astype("f8"))
    )


def test_other_libraries_read_the_netcdf(tmp_path: Path, make_cube: MakeCube) -> None:
    cube = make_cube()
    [asset] = write([SaveResult(cube, "netCDF")], tmp_path)
    with netCDF4.Dataset(asset.path) as file:
        assert file.Conventions == "CF-1.8"
        np.testing.assert_array_equal(file["B03"][:].filled(np.nan), cube.values[:, 1])
        assert file["B03"].filters()["zlib"] and file["crs"].grid_mapping_name == "transverse_mercator"
    with rasterio.open(f"netcdf:{asset.path}:B04") as file:
        assert file.crs.to_epsg() == 32631 and file.transform.a == 10
        np.testing.assert_array_equal(file.read(), cube.values[:, 0])


def test_cube_without_bands_is_var(tmp_path: Path, make_cube: MakeCube) -> None:
    cube = make_cube(("t", "y", "x"), size=(30, 20)).assign_coords(t=["first_date", "2024-06"])
    [asset] = write([SaveResult(cube, "netCDF")], tmp_path)
    data = xr.open_dataset(asset.path)
    assert set(data.data_vars) == {"var", "crs"} and data["t"].values.tolist() == ["first_date", "2024-06"]
    np.testing.assert_array_equal(data["var"].values, cube.values)


@pytest.mark.parametrize("name", ["netCDF", "Zarr"])
def test_cubes_without_space_and_single_values(tmp_path: Path, make_cube: MakeCube, name: str) -> None:
    series = make_cube(size=(60, 70)).mean(("y", "x")).drop_vars("spatial_ref", errors="ignore")
    [a, b] = write([SaveResult(series, name), SaveResult(series.mean(("t", "bands")), name)], tmp_path)
    np.testing.assert_allclose(reread(a.path)["B02"].values, series.values[:, 2])
    assert float(reread(b.path)["var"]) == pytest.approx(float(series.mean()))


def test_band_labels_that_are_no_names(tmp_path: Path, make_cube: MakeCube) -> None:
    cube = make_cube(("bands", "y", "x"), size=(9, 9)).assign_coords(bands=["a/b", "x", "crs"])
    [asset] = write([SaveResult(cube, "netCDF")], tmp_path)
    data = xr.open_dataset(asset.path)
    assert set(data.data_vars) == {"a_b", "x_", "crs_", "crs"} and data["x_"].attrs["long_name"] == "x"


def test_bands_first_and_further_dimensions(tmp_path: Path, make_cube: MakeCube) -> None:
    cube = make_cube(("y", "bands", "x"), size=(600, 40), chunks=(77, 40)).expand_dims({"model": ["m1", "m2"]}, axis=1)
    [asset] = write([SaveResult(cube, "netCDF")], tmp_path)
    data = xr.open_dataset(asset.path)
    assert data["B03"].dims == ("model", "y", "x")
    np.testing.assert_array_equal(data["B03"].values, cube.sel(bands="B03").transpose("model", "y", "x").values)


def test_not_a_cube(tmp_path: Path) -> None:
    with pytest.raises(OpenEOError, match="not a cube"):
        write([SaveResult(3, "netCDF")], tmp_path)
