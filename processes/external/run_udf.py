"""`run_udf`, `run_udf_externally`: user code, here in a runtime or behind an address.

Usually a callback: the process around it hands over a block, and finds shape and dtype of the answer by asking with a
pixel or two (`processes.probe`). The code is read once, when the callback is compiled. Runtimes are `Env.udf`; this
package has none.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from processes import cube as cubes
from processes.blocks import is_lazy
from processes.env import Env, UdfCall, UdfRuntimes
from processes.errors import ProcessError, parameter_invalid
from processes.external.wire import datacube, failed, from_datacube, in_memory, is_array
from processes.load.fetch import Fetcher, shown
from processes.registry import process

MOST_CODE = 1 << 20  # bytes


def runtimes(env: Env) -> UdfRuntimes:
    """The runtimes of the service. Raises ``InvalidRuntime`` where there are none."""
    if env.udf is None:
        raise ProcessError(
            "InvalidRuntime",
            "This service has no UDF runtime installed, so it cannot run user code (GET /udf_runtimes is empty). Use the "
            "predefined processes, run_udf_externally with a service of your own, or ask the operator for a runtime.",
        )
    return env.udf


def is_code(udf: str) -> bool:
    """Whether ``udf`` is source code: the definition tells it from paths and addresses by a line break."""
    return "\n" in udf or "\r" in udf


def source_of(udf: str, env: Env) -> str:
    """The source code: as given, of an uploaded file, or from the web.

    Raises ``FileNotFound``, ``AccessDenied``, ``NoDataAvailable``, ``ProcessParameterInvalid``.
    """
    if not isinstance(udf, str) or not udf.strip():
        raise parameter_invalid("udf", "it must be source code, the path of an uploaded file or a URL")
    if is_code(udf):
        return udf
    if env.prepared is not None and udf in env.prepared:
        return env.prepared[udf]
    if udf.startswith(("http://", "https://")):
        with Fetcher(env.fetch_allow) as fetcher, tempfile.TemporaryDirectory(prefix="tuile-udf-") as scratch:
            return _text(fetcher.download(udf, Path(scratch) / "code", MOST_CODE), shown(udf))
    return _text(env.files.path(udf), udf)


def _text(path: Path, name: str) -> str:
    if path.stat().st_size > MOST_CODE:
        raise parameter_invalid("udf", f"'{name}' is larger than {MOST_CODE >> 20} MiB")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise parameter_invalid("udf", f"'{name}' is not UTF-8 text") from None


def _prepare(known: Mapping[str, Any], env: Env) -> dict[str, str]:
    """The code of a callback by its path or address, and an early no where the runtime does not exist."""
    if isinstance(known.get("runtime"), str):
        runtimes(env).check(known["runtime"], known.get("version"))
    udf = known.get("udf")
    return {udf: source_of(udf, env)} if isinstance(udf, str) and not is_code(udf) else {}


@process(pure=False, prepare=_prepare)
def run_udf(
    data: Any, udf: str, runtime: str, version: str | None = None, context: Any = None, *, env: Env | None = None
) -> Any:
    """What user code makes of ``data``. A cube that is not in memory stays lazy and is one task, held whole.

    Raises ``InvalidRuntime``, ``InvalidVersion``, ``FileNotFound``, and what the runtime raises for a mistake in the code.
    """
    env = env or Env()
    found = runtimes(env)
    found.check(runtime, version)
    call = UdfCall(source_of(udf, env), runtime, version, {} if context is None else context)
    if isinstance(data, xr.DataArray) and is_lazy(data):
        return _whole(found, call, data, env)
    return found.run(call, data)


def _whole(found: UdfRuntimes, call: UdfCall, data: xr.DataArray, env: Env) -> xr.DataArray:
    """The code on a whole cube, later. Dimensions, labels and dtype are those of its answer for one pixel; a spatial
    dimension that comes back with one label is taken to come back whole."""
    import dask
    import dask.array as da

    if data.nbytes * 2 > env.limits.memory:
        raise parameter_invalid(
            "data",
            f"run_udf would hold the whole cube in memory ({data.nbytes >> 20} MiB). Use it as a callback of "
            "apply_neighborhood, apply_dimension or reduce_dimension: they run it on blocks",
        )
    spatial = [d for k in (cubes.Y, cubes.X) for d in cubes.dims_of(data, k)]
    pixel = data.isel({d: slice(0, 1) for d in spatial})
    answer = found.run(call, pixel.copy(data=np.ones(pixel.shape, data.dtype)))
    if not isinstance(answer, xr.DataArray):
        raise parameter_invalid("udf", f"the code must return a cube for a cube, not {type(answer).__name__}")
    whole = [d for d in answer.dims if d in spatial and answer.sizes[d] == 1]
    shape = tuple(data.sizes[d] if d in whole else answer.sizes[d] for d in answer.dims)

    def compute(values: Any) -> np.ndarray:
        made = found.run(call, data.copy(data=values))
        if getattr(made, "dims", None) != answer.dims or made.shape != shape:
            raise parameter_invalid(
                "udf",
                f"the code returned the shape {made.shape} for the cube, and {shape} was to follow from one pixel",
            )
        return np.asarray(made.values).astype(answer.dtype, copy=False)

    task = dask.delayed(compute, pure=False)(data.data)
    coords = {d: (data if d in whole else answer).coords[d] for d in answer.dims if d in answer.coords}
    lazy = xr.DataArray(da.from_delayed(task, shape, answer.dtype), dims=answer.dims, coords=coords)
    return cubes.like(lazy, data)


@process(pure=False)
def run_udf_externally(data: Any, url: str, context: Mapping[str, Any] | None = None, *, env: Env | None = None) -> Any:
    """What the UDF service at ``url`` makes of ``data``: a POST of the openEO UDF data model, answered by the same.

    Raises ``ExternalServiceFailed``, ``AccessDenied`` (a private network), ``ProcessParameterInvalid``.
    """
    env = env or Env()
    held = in_memory(data)
    body: dict[str, Any] = {"user_context": dict(context or {}), "datacubes": [], "structured_data_list": []}
    if is_array(held):
        body["datacubes"] = [datacube(held)]
    else:
        body["structured_data_list"] = [{"description": "data", "data": held, "type": _sort(held)}]
    with Fetcher(env.fetch_allow) as fetcher:
        answer = fetcher.post(url, body).document
    if isinstance(answer, Mapping) and answer.get("datacubes"):
        return from_datacube(answer["datacubes"][0], held)
    if isinstance(answer, Mapping) and answer.get("structured_data_list"):
        return answer["structured_data_list"][0].get("data")
    raise failed(f"{shown(url)} returned neither datacubes nor structured_data_list")


def _sort(value: Any) -> str:
    return "dict" if isinstance(value, Mapping) else "list" if isinstance(value, list) else "value"
