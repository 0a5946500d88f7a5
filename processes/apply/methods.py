"""Corrections and detections that chains provide: `cloud_detection`, `atmospheric_correction`, `ard_surface_reflectance`.

The standard names the processes and leaves the methods to the backend. A chain adds one when it is imported::

    @method("atmospheric_correction", "MAJA")
    def correct(data, options, *, elevation_model=None, env=None): ...
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import xarray as xr

from processes import cube as cubes
from processes import registry
from processes.blocks import map_blocks
from processes.combine.merge import merge_cubes
from processes.env import Env
from processes.errors import ProcessError
from processes.mask.mask import mask_
from processes.registry import process

KINDS = ("cloud_detection", "atmospheric_correction")
Method = Callable[..., xr.DataArray]

_methods: dict[str, dict[str, Method]] = {kind: {} for kind in KINDS}


def method(kind: str, name: str) -> Callable[[Method], Method]:
    """Register ``function(data, options, *, elevation_model, env) -> cube`` as method ``name`` of a process ``kind``.

    ``cloud_detection`` methods take no ``elevation_model`` and return the bands ``cloud``, ``shadow`` ... with values
    from 0 to 1.
    """

    def register(function: Method) -> Method:
        _methods[kind][name] = function
        return function

    return register


def methods(kind: str) -> list[str]:
    """Names of the methods there are, the default first."""
    registry.processes()  # chains register theirs when they are imported
    return list(_methods[kind])


def _chosen(kind: str, name: str | None, parameter: str = "method") -> Method:
    known = methods(kind)
    if not known:
        raise ProcessError(
            "FeatureUnsupported",
            f"No method of {kind} is installed on this service. Its operator can install a package that brings one.",
            parameter=parameter,
        )
    if name is None:
        return _methods[kind][known[0]]
    by_name = {k.lower(): k for k in known}
    if str(name).lower() in by_name:
        return _methods[kind][by_name[str(name).lower()]]
    raise ProcessError(
        "ProcessParameterUnsupported",
        f"The method '{name}' of {kind} is not available here; available are: {', '.join(known)}.",
        parameter=parameter,
        available=known,
    )


def with_methods(spec: dict[str, Any]) -> dict[str, Any]:
    """A definition whose parameters say which methods there are here. The schema stays that of the standard, whose list
    of names is of examples."""
    kinds = {"method": spec["id"]} | {f"{kind}_method": kind for kind in KINDS}
    parameters = []
    for parameter in spec["parameters"]:
        if (kind := kinds.get(parameter["name"])) is not None:
            known = methods(kind)
            told = f"{', '.join(known)} ({known[0]} where null)" if known else "none"
            parameter = parameter | {"description": f"{parameter['description']} Available on this service: {told}."}
        parameters.append(parameter)
    return spec | {"parameters": parameters}


@process(told=with_methods)
def cloud_detection(
    data: xr.DataArray, method: str | None, options: Mapping[str, Any] | None = None, *, env: Env | None = None
) -> xr.DataArray:
    """Bands of cloud, shadow ... probabilities (0 to 1) of top-of-atmosphere reflectances.

    Raises ``ProcessParameterUnsupported`` naming the methods there are, ``FeatureUnsupported`` where there is none.
    """
    return _chosen("cloud_detection", method)(data, dict(options or {}), env=env)


@process(told=with_methods)
def atmospheric_correction(
    data: xr.DataArray,
    method: str | None,
    elevation_model: str | None = None,
    options: Mapping[str, Any] | None = None,
    *,
    env: Env | None = None,
) -> xr.DataArray:
    """Surface reflectances of top-of-atmosphere reflectances.

    Raises ``ProcessParameterUnsupported`` naming the methods there are, ``FeatureUnsupported``,
    ``DigitalElevationModelInvalid``.
    """
    correct = _chosen("atmospheric_correction", method)
    return correct(data, dict(options or {}), elevation_model=elevation_model, env=env)


@process(told=with_methods)
def ard_surface_reflectance(
    data: xr.DataArray,
    atmospheric_correction_method: str,
    cloud_detection_method: str,
    elevation_model: str | None = None,
    atmospheric_correction_options: Mapping[str, Any] | None = None,
    cloud_detection_options: Mapping[str, Any] | None = None,
    *,
    env: Env | None = None,
) -> xr.DataArray:
    """Surface reflectances with nodata under clouds and shadows, and the bands of the cloud detection beside.

    Raises ``ProcessParameterUnsupported`` naming the methods there are, ``FeatureUnsupported``,
    ``DigitalElevationModelInvalid``.
    """
    correct = _chosen("atmospheric_correction", atmospheric_correction_method, "atmospheric_correction_method")
    detect = _chosen("cloud_detection", cloud_detection_method, "cloud_detection_method")
    bands = cubes.bands_dim(data)
    surface = correct(data, dict(atmospheric_correction_options or {}), elevation_model=elevation_model, env=env)
    found = detect(data, dict(cloud_detection_options or {}), env=env)
    for name in ("cloud", "shadow"):
        if name in cubes.labels(found, bands):
            hidden = found.isel({bands: cubes.labels(found, bands).index(name)}, drop=True)
            surface = mask_(surface, map_blocks(lambda block: block >= 0.5, hidden, dtype=bool))
    return merge_cubes(surface, found)
