"""Predicting with models: on arrays inside callbacks, and on whole cubes."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from processes import cube as cubes
from processes.blocks import map_blocks
from processes.callback import LabeledArray
from processes.errors import ProcessError, parameter_invalid
from processes.ml.model import Forest
from processes.probe import decode
from processes.registry import process

PREDICTIONS = "predictions"


@process()
def predict_random_forest(data: Any, model: Forest) -> Any:
    """The class or number that a forest predicts for an array of features, in the order of training.

    A block (features, ...pixels) gives a block of pixels, float32; a list gives a number or None. Nodata in a feature
    gives nodata. Classes that are texts come as their number in the order of the classes.
    Raises ``ModelInputMismatch``.
    """
    samples, block = _samples(data)
    found = _model(model).predict(samples)
    if block:
        return found
    value = float(found)
    return None if value != value else int(value) if model.task == "classification" and value.is_integer() else value


@process()
def predict_probabilities(data: Any, model: Forest) -> Any:
    """Probability of each class, in ascending order of the classes, for an array of features.

    A block (features, ...pixels) gives a block (classes, ...pixels), float32. Raises ``ModelInputMismatch``.
    """
    if _model(model).task != "classification":
        raise parameter_invalid("model", "it is a regression; only classifiers have probabilities")
    samples, block = _samples(data)
    found = model.probabilities(samples)
    if block:
        return LabeledArray(found.astype("f4"), [str(c) for c in model.classes])
    return [None if v != v else float(v) for v in found]


@process()
def ml_predict(data: xr.DataArray, model: Forest) -> xr.DataArray:
    """A forest on a cube: the dimension of its features becomes ``predictions`` with one label.

    That is the dimension of the bands or properties, or the only one with as many labels as the model has features;
    labels that bear the features' names are put into their order. Raises ``ModelInputMismatch``.
    """
    forest = _model(model)
    dimension = _feature_dimension(data, forest)
    labels = [str(v) for v in cubes.plain_labels(data, dimension)]
    order = list(range(len(labels)))
    if set(labels) >= set(forest.features):
        order = [labels.index(f) for f in forest.features]
    nodata = data.attrs.get("nodata")

    def on_block(block: np.ndarray) -> np.ndarray:
        return forest.predict(decode(block[order], nodata))[None]

    out = map_blocks(on_block, data, core=[dimension], out_core={PREDICTIONS: 1}, dtype="f4")
    out = out.assign_coords({PREDICTIONS: ["class" if forest.task == "classification" else "value"]})
    result = cubes.like(out, data, dims={PREDICTIONS: cubes.OTHER})
    result.attrs.pop("band_info", None)
    return result


def _feature_dimension(data: xr.DataArray, forest: Forest) -> str:
    count = len(forest.features)
    candidates = [*cubes.dims_of(data, cubes.BANDS), *(d for d in data.dims if d == "properties")]
    candidates += [str(d) for d in data.dims if cubes.kinds(data)[str(d)] in (cubes.OTHER, cubes.TEMPORAL)]
    named = [d for d in candidates if {str(v) for v in cubes.plain_labels(data, d)} >= set(forest.features)]
    sized = [d for d in candidates if data.sizes[d] == count]
    for found in (named, sized):
        if found:
            return str(found[0])
    raise ProcessError(
        "ModelInputMismatch",
        f"No dimension of the cube holds the {count} features of the model ({', '.join(forest.features[:12])}); it has "
        f"{ {str(d): n for d, n in data.sizes.items()} }. Lay several dimensions out with flatten_dimensions.",
    )


def _model(model: Any) -> Forest:
    if not isinstance(model, Forest):
        raise parameter_invalid("model", "it is not a trained model")
    return model


def _samples(data: Any) -> tuple[np.ndarray, bool]:
    """Features (n, ...pixels) of an array of a callback, and whether it is a block."""
    if isinstance(data, xr.DataArray):
        raise parameter_invalid(
            "data", "it is a cube; use reduce_dimension with this process as reducer, or ml_predict"
        )
    values = getattr(data, "values", data)
    array = np.asarray(values)
    if array.dtype == object or not isinstance(values, np.ndarray):
        array = np.array([np.nan if v is None else v for v in np.ravel(array)], "f4")
        return array, False
    return array, array.ndim > 1 or isinstance(data, LabeledArray)
