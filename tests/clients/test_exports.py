"""Results exported by jobs of the Python client, and read back in later ones; code of the user's own."""

from __future__ import annotations

import numpy as np
import openeo
import pytest
import xarray as xr
from openeo.rest import OpenEoApiError

from tests.clients.test_python_client import S2, finish


def test_exports_are_there_in_later_jobs(connection, tmp_path):
    cube = connection.load_collection(S2, bands=["B04", "B08"]).ndvi(nir="B08", red="B04")
    saved = cube.save_result("GTiff")
    graph = saved.flat_graph()
    (node,) = [k for k, v in graph.items() if v["process_id"] == "save_result"]
    graph[node].pop("result", None)
    data = {"from_node": node}
    graph["w"] = {"process_id": "export_workspace", "arguments": {"data": data, "workspace": "ndvi"}}
    graph["c"] = {
        "process_id": "export_collection",
        "arguments": {"data": data, "collection": "MY_NDVI"},
        "result": True,
    }
    assert connection.validate_process_graph(graph) == []
    job = connection.create_job(graph)
    job.start()
    assert finish(job)[0] == "finished"
    files = {str(f.path) for f in connection.list_files()}
    assert f"ndvi/{job.job_id}/collection.json" in files
    assert "MY_NDVI" in connection.list_collection_ids()
    connection.load_collection("MY_NDVI").download(tmp_path / "again.nc")
    cube.download(tmp_path / "direct.nc")
    again, direct = (xr.open_dataset(tmp_path / f"{n}.nc") for n in ("again", "direct"))
    assert again.sizes["t"] == direct.sizes["t"] and list(again.t.values) == list(direct.t.values)
    values = {"again": again, "direct": direct}
    arrays = {k: v[next(n for n in v.data_vars if n != "crs")].values for k, v in values.items()}
    np.testing.assert_array_equal(arrays["again"], arrays["direct"])
    job.delete()
    assert f"ndvi/{job.job_id}/collection.json" in {str(f.path) for f in connection.list_files()}, (
        "copies outlive the job"
    )
    anonymous = openeo.connect(connection.root_url)
    assert "MY_NDVI" not in anonymous.list_collection_ids()


def test_user_code_without_a_runtime_says_what_to_do(connection):
    cube = connection.load_collection(S2, bands=["B04"])
    made = cube.apply(openeo.UDF("def apply(x):\n    return x\n", runtime="Python"))
    (problem,) = made.validate()
    assert problem["code"] == "InvalidRuntime" and "no UDF runtime installed" in problem["message"]
    with pytest.raises(OpenEoApiError, match="InvalidRuntime"):
        made.execute()
