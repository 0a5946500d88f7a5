"""Training random forests with scikit-learn: `fit_class_random_forest`, `fit_regr_random_forest`, `ml_fit`."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from processes import cube as cubes
from processes.env import Env
from processes.errors import ProcessError, parameter_invalid
from processes.ml.model import Forest, Untrained
from processes.registry import process
from processes.vector.cube import GEOMETRIES_ONLY, as_vector, crs_of, dimension_of, geometries_of, properties_of

SHARES = {"all": None, "onethird": 1 / 3, "sqrt": "sqrt", "log2": "log2"}
MOST_TREES = 10_000


@process()
def fit_class_random_forest(
    predictors: Any,
    target: Any,
    max_variables: int | str,
    num_trees: int = 100,
    seed: int | None = None,
    *,
    env: Env | None = None,
) -> Forest:
    """Train a classifier (Breiman 2001) on a vector cube of features; the target holds classes (numbers or texts).

    Computes the features: training needs their values. Samples without class or with nodata in a feature are left out.
    Raises ``TrainingDataInvalid``, ``ProcessParameterInvalid``.
    """
    return _fit("classification", predictors, target, max_variables, num_trees, seed, env or Env())


@process()
def fit_regr_random_forest(
    predictors: Any,
    target: Any,
    max_variables: int | str,
    num_trees: int = 100,
    seed: int | None = None,
    *,
    env: Env | None = None,
) -> Forest:
    """Train a regression (Breiman 2001); otherwise as `fit_class_random_forest`. The target holds numbers."""
    return _fit("regression", predictors, target, max_variables, num_trees, seed, env or Env())


@process()
def ml_fit(model: Untrained, training_set: Any, target: str, *, env: Env | None = None) -> Forest:
    """Train a declared model on a vector cube; ``target`` names the property, or the label, that is to be learnt.

    Raises ``TrainingDataInvalid``, ``ProcessParameterInvalid``.
    """
    if not isinstance(model, Untrained):
        raise parameter_invalid("model", "it is not an untrained model")
    data = as_vector(training_set, parameter="training_set")
    if target in properties_of(data):
        values: Any = properties_of(data)[target]
        features = data
    else:
        found = [str(d) for d in data.dims if d != dimension_of(data) and target in cubes.plain_labels(data, str(d))]
        if not found:
            raise ProcessError("TrainingDataInvalid", f"The training set has no property or label '{target}'.")
        d, labels = found[0], cubes.plain_labels(data, found[0])
        values = np.ravel(data.isel({d: labels.index(target)}).compute().values)
        features = data.isel({d: [k for k, v in enumerate(labels) if v != target]})
    held = (model.max_variables, model.num_trees, model.seed)
    return _fit(model.task, features, values, *held, env or Env())


def _fit(
    task: str, predictors: Any, target: Any, max_variables: int | str, num_trees: int, seed: int | None, env: Env
) -> Forest:
    if not 1 <= int(num_trees) <= MOST_TREES:
        raise parameter_invalid("num_trees", f"it must be between 1 and {MOST_TREES}")
    data = as_vector(predictors, parameter="predictors")
    names, x = features_of(data)
    y = target if isinstance(target, np.ndarray) else _target(target, data)
    if len(y) != len(x):
        raise ProcessError("TrainingDataInvalid", f"There are features of {len(x)} geometries and {len(y)} targets.")
    missing = np.array([v is None or v != v for v in y], bool)
    keep = np.isfinite(x).all(axis=1) & ~missing
    if not keep.any():
        raise ProcessError("TrainingDataInvalid", "No sample has a target and a value for every feature.")
    x, y = x[keep], y[keep]
    if not keep.all():
        env.log("warning", f"Training leaves out {int((~keep).sum())} of {len(keep)} samples: nodata or no target.")
    classes, labels = _classes(y) if task == "classification" else ((), _numbers(y))
    fitted = _sklearn(task)(
        n_estimators=int(num_trees),
        max_features=_max_features(max_variables, x.shape[1]),
        random_state=seed,
        n_jobs=env.limits.threads,
    ).fit(x, labels)
    info = {"num_trees": int(num_trees), "max_variables": max_variables, "seed": seed, "samples": len(x)}
    return from_sklearn(fitted, task, names, classes, info)


def _sklearn(task: str) -> Any:
    try:
        from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
    except ImportError:
        raise ProcessError(
            "FeatureUnsupported",
            "Training needs scikit-learn, which this service lacks; its operator installs it with 'pip install scikit-learn'.",
        ) from None
    return RandomForestClassifier if task == "classification" else RandomForestRegressor


def _max_features(max_variables: int | str, features: int) -> Any:
    if isinstance(max_variables, str):
        if max_variables not in SHARES:
            raise parameter_invalid("max_variables", f"'{max_variables}' is none of {', '.join(SHARES)} and no number")
        return SHARES[max_variables]
    if isinstance(max_variables, bool) or int(max_variables) != max_variables or max_variables < 1:
        raise parameter_invalid("max_variables", "it must be a whole number above zero")
    return min(int(max_variables), features)


def features_of(data: xr.DataArray) -> tuple[tuple[str, ...], np.ndarray]:
    """Names of features and their values, float32 (geometries, features): all labels of all other dimensions."""
    if data.attrs.get(GEOMETRIES_ONLY):
        raise ProcessError(
            "TrainingDataInvalid",
            "The predictors have geometries and no values; take them from a cube with aggregate_spatial.",
        )
    geometry = dimension_of(data)
    rest = [str(d) for d in data.dims if d != geometry]
    names = [""]
    for d in rest:
        names = [f"{n}_{v}".lstrip("_") for n in names for v in cubes.plain_labels(data, d)]
    ordered = data.transpose(geometry, *rest).compute(num_workers=2)
    try:
        values = np.asarray(ordered.values, "f4").reshape(data.sizes[geometry], -1)
    except (TypeError, ValueError):
        raise ProcessError("TrainingDataInvalid", "The predictors hold texts; features are numbers.") from None
    return tuple(n or "value" for n in names), values


def _target(target: Any, data: xr.DataArray) -> np.ndarray:
    """One target per geometry of ``data``: the values of a vector cube, or the one property of features."""
    found = as_vector(target, parameter="target")
    if found.sizes[dimension_of(found)] == data.sizes[dimension_of(data)]:
        _same_places(found, data)
    if not found.attrs.get(GEOMETRIES_ONLY):
        if found.size != found.sizes[dimension_of(found)]:
            raise ProcessError("TrainingDataInvalid", "The target must have one value per geometry.")
        return np.ravel(found.compute().values)
    properties = {k: v for k, v in properties_of(found).items() if k != "id"}
    name = "target" if "target" in properties else next(iter(properties), None)
    if name is None or (name != "target" and len(properties) > 1):
        raise ProcessError(
            "TrainingDataInvalid",
            f"The target is not clear: the features have {', '.join(properties) or 'no properties'}. Call the property "
            "'target', or make the target with load_geojson(properties=[...]).",
        )
    return properties[name]


def _same_places(target: xr.DataArray, data: xr.DataArray) -> None:
    if crs_of(target) != crs_of(data):
        return  # how they match is their order
    for a, b in zip(geometries_of(target), geometries_of(data)):
        if a.geom_type == b.geom_type and not a.is_empty and not b.is_empty and not a.intersects(b):
            raise ProcessError(
                "TrainingDataInvalid",
                "The geometries of the target are not those of the predictors, in the same order.",
            )


def _classes(y: np.ndarray) -> tuple[tuple[Any, ...], np.ndarray]:
    """Class labels, ascending, and the index of each sample's class."""
    plain = [v.item() if isinstance(v, np.generic) else v for v in y]
    if all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in plain):
        plain = [int(v) if float(v).is_integer() else float(v) for v in plain]
    else:
        plain = [str(v) for v in plain]
    classes = sorted(set(plain))
    at = {c: k for k, c in enumerate(classes)}
    return tuple(classes), np.array([at[v] for v in plain])


def _numbers(y: np.ndarray) -> np.ndarray:
    try:
        return y.astype("f8")
    except (TypeError, ValueError):
        raise ProcessError("TrainingDataInvalid", "The target of a regression must be numbers.") from None


def from_sklearn(
    fitted: Any, task: str, features: tuple[str, ...], classes: tuple[Any, ...], info: dict[str, Any]
) -> Forest:
    """The arrays of a fitted scikit-learn forest; predictions are the same."""
    trees = [e.tree_ for e in fitted.estimators_]
    starts = np.concatenate([[0], np.cumsum([t.node_count for t in trees])])
    inner = [t.children_left >= 0 for t in trees]
    values = []
    for t in trees:
        v = t.value[:, 0, :].astype("f8")
        if task == "classification":
            v = v / v.sum(axis=1, keepdims=True)
        values.append(v)
    return Forest(
        task, features, classes,
        roots=starts[:-1].astype("i8"),
        feature=np.concatenate([np.where(i, t.feature, -1) for t, i in zip(trees, inner)]).astype("i4"),
        threshold=np.concatenate([t.threshold for t in trees]).astype("f8"),
        left=np.concatenate([np.where(i, t.children_left + s, 0) for t, i, s in zip(trees, inner, starts)]).astype("i4"),
        right=np.concatenate([np.where(i, t.children_right + s, 0) for t, i, s in zip(trees, inner, starts)]).astype("i4"),
        values=np.concatenate(values),
        info=info,
    )  # fmt: skip
