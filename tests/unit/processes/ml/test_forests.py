"""Random forests: training as scikit-learn, prediction with the same labels, storage without pickle."""

from __future__ import annotations

import builtins
import json
import pickle
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import shapely
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from backend.graph.callbacks import CompiledCallback
from backend.results import write
from processes import cube as cubes
from processes.callback import LabeledArray
from processes.env import Env
from processes.errors import ProcessError
from processes.load.load_geojson import load_geojson
from processes.ml.model import Forest, Untrained, load
from processes.ml.predict import ml_predict, predict_probabilities, predict_random_forest
from processes.ml.store import load_ml_model, save_ml_model
from processes.ml.train import fit_class_random_forest, fit_regr_random_forest, ml_fit
from processes.reduce.dimension import reduce_dimension
from processes.vector.cube import vector_cube
from tests.unit.processes.cubes.samples import CHUNKINGS, Make, building, computed, values
from tests.unit.processes.folder import Folder

RNG = np.random.default_rng(5)
X = RNG.normal(size=(300, 3)).astype("f4")
Y = (X[:, 0] + X[:, 1] ** 2 > 0.5).astype(int) * 10 + (X[:, 2] > 0) * 5
POINTS = [shapely.Point(i, i / 10) for i in range(300)]
BANDS = ["B1", "B2", "B3"]


def predictors(x: np.ndarray = X, lazy: bool = True) -> Any:
    held = da.from_array(x, chunks=(100, 2)) if lazy else x
    return vector_cube(POINTS, 4326, held, dims=("geometry", "bands"), coords={"bands": BANDS})


def target(y: Any = Y) -> dict[str, Any]:
    """Features with a property, as the Python client sends them."""
    return {
        "type": "FeatureCollection",
        "features": [
            {"type": "Feature", "properties": {"target": v}, "geometry": shapely.geometry.mapping(p)}
            for p, v in zip(POINTS, np.asarray(y, object).tolist())
        ],
    }


@pytest.fixture(scope="module")
def forest() -> Forest:
    return fit_class_random_forest(predictors(), target(), "sqrt", 20, 3)


@pytest.mark.parametrize("variables", ["all", "onethird", "sqrt", "log2", 2, 99])
def test_classes_are_those_of_scikit_learn(variables: Any) -> None:
    ours = fit_class_random_forest(predictors(), target(), variables, 15, 7)
    known = {"all": None, "onethird": 1 / 3, 99: 3}.get(variables, variables)
    theirs = RandomForestClassifier(15, max_features=known, random_state=7).fit(X, Y)
    new = RNG.normal(size=(5000, 3)).astype("f4")
    np.testing.assert_array_equal(ours.predict(new.T), theirs.predict(new))
    np.testing.assert_allclose(ours.probabilities(new.T).T, theirs.predict_proba(new), atol=1e-12)
    assert ours.classes == (0, 5, 10, 15)


def test_regression_is_that_of_scikit_learn() -> None:
    y = X[:, 0] * 2 - X[:, 1]
    ours = fit_regr_random_forest(predictors(), load_geojson(target(y.astype(float)), ["target"]), "all", 10, 1)
    theirs = RandomForestRegressor(10, max_features=None, random_state=1).fit(X, y.astype("f8"))
    np.testing.assert_allclose(ours.predict(X.T), theirs.predict(X), rtol=1e-6)
    with pytest.raises(ProcessError, match="regression"):
        predict_probabilities([1, 2, 3], ours)


def test_texts_are_classes_and_come_as_their_number() -> None:
    names = np.where(X[:, 0] > 0, "water", "forest").astype(object)
    model = fit_class_random_forest(predictors(), load_geojson(target(names), ["target"]), "all", 10, 1)
    assert model.classes == ("forest", "water")
    np.testing.assert_array_equal(model.predict(X.T), (X[:, 0] > 0).astype(int))


def test_samples_with_nodata_are_left_out() -> None:
    x, y = X.copy(), Y.astype(object)
    x[0, 0], y[1] = np.nan, None
    said: list[str] = []
    env = Env(sink=lambda level, text, **_: said.append(text))
    model = fit_class_random_forest(predictors(x), target(y), 2, 5, 1, env=env)
    assert model.info["samples"] == 298
    assert "2 of 300" in said[0]


@pytest.mark.parametrize(
    ("x", "y", "reason"),
    [
        (lambda: predictors(X * np.nan), lambda: target(), "No sample"),
        (lambda: predictors(), lambda: {**target(), "features": target()["features"][:10]}, "300 geometries and 10"),
        (lambda: load_geojson(target()), lambda: target(), "no values"),
        (lambda: predictors(), lambda: {**target(), "features": target()["features"][::-1]}, "not those"),
    ],
)
def test_training_data_that_does_not_do_is_told(x: Any, y: Any, reason: str) -> None:
    with pytest.raises(ProcessError, match=rf"TrainingDataInvalid.*{reason}"):
        fit_class_random_forest(x(), y(), "sqrt", 5)


@pytest.mark.parametrize("variables", ["half", 0, -1, 1.5])
def test_wrong_max_variables(variables: Any) -> None:
    with pytest.raises(ProcessError, match="max_variables"):
        fit_class_random_forest(predictors(), target(), variables, 5)


def test_without_scikit_learn_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch, forest: Forest) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("sklearn"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ProcessError, match="pip install scikit-learn"):
        fit_class_random_forest(predictors(), target(), "sqrt", 5)
    assert forest.predict(X.T).shape == (300,), "prediction needs no scikit-learn"


def test_arrays_and_lists_inside_callbacks(forest: Forest) -> None:
    row = X[0].tolist()
    assert predict_random_forest(row, forest) == int(forest.predict(X[:1].T)[0])
    assert predict_random_forest([None, 1.0, 2.0], forest) is None
    shares = predict_probabilities(row, forest)
    assert sum(shares) == pytest.approx(1)
    block = predict_probabilities(LabeledArray(X.T.reshape(3, 30, 10), BANDS, "bands"), forest)
    assert block.values.shape == (4, 30, 10) and block.labels == ["0", "5", "10", "15"]
    with pytest.raises(ProcessError, match="ModelInputMismatch"):
        predict_random_forest([1, 2], forest)


def reducer(forest: Forest) -> CompiledCallback:
    """As DataCube.predict_random_forest writes it."""
    arguments = {"data": {"from_parameter": "data"}, "model": {"from_parameter": "context"}}
    return CompiledCallback({"p": {"process_id": "predict_random_forest", "arguments": arguments, "result": True}})


V = values()


def expected(forest: Forest) -> np.ndarray:
    flat = V.transpose(1, 0, 2, 3).reshape(3, -1)
    out = np.full(flat.shape[1], np.nan)
    ok = np.isfinite(flat).all(axis=0)
    out[ok] = forest.predict(flat[:, ok])
    return out.reshape(6, 8, 10)


@pytest.mark.parametrize("chunking", list(CHUNKINGS))
def test_cubes(chunking: str, forest: Forest) -> None:
    with building():
        reduced = reduce_dimension(Make(chunking)(V), reducer(forest), "bands", forest)
        predicted = ml_predict(Make(chunking)(V), forest)
    np.testing.assert_array_equal(computed(reduced).values, expected(forest))
    assert predicted.dims == ("t", "y", "x", "predictions")
    assert cubes.labels(predicted, "predictions") == ["class"]
    np.testing.assert_array_equal(computed(predicted).values[..., 0], expected(forest))


def test_other_models_give_other_values(forest: Forest) -> None:
    other = fit_class_random_forest(predictors(), target(Y[::-1]), "sqrt", 20, 3)
    for model in (forest, other, forest):
        got = reduce_dimension(Make("everything")(V), reducer(model), "bands", model)
        np.testing.assert_array_equal(computed(got).values, expected(model))


def test_ml_predict_finds_features_by_name_and_tells_what_is_missing(forest: Forest) -> None:
    turned = Make()(V[:, ::-1], bands=("B3", "B2", "B1"))
    np.testing.assert_array_equal(ml_predict(turned, forest).values[..., 0], expected(forest))
    with pytest.raises(ProcessError, match="ModelInputMismatch"):
        ml_predict(Make()(V[:, :2]), forest)
    integers = Make("everything")(np.full((1, 3, 4, 4), 7, "u1"), nodata=7)
    assert np.isnan(computed(ml_predict(integers, forest)).values).all()


def test_ml_fit_takes_the_target_from_the_training_set() -> None:
    model = Untrained("classification", "sqrt", 10, 1)
    data = predictors(lazy=False)
    by_property = ml_fit(model, data.assign_coords(what=("geometry", Y)), "what")
    joined = vector_cube(
        POINTS, 4326, np.column_stack([X, Y]), dims=("geometry", "bands"), coords={"bands": [*BANDS, "what"]}
    )
    by_label = ml_fit(model, joined, "what")
    assert by_label.features == by_property.features == ("B1", "B2", "B3")
    np.testing.assert_array_equal(by_label.predict(X.T), by_property.predict(X.T))
    with pytest.raises(ProcessError, match="no property or label"):
        ml_fit(model, data, "other")


class Place(Folder):
    """Files and job results in one folder."""

    def result(self, job_id: str) -> Any:
        if job_id != "j1":
            raise ProcessError("JobNotFound", f"The job '{job_id}' does not exist.")
        return {"assets": {"m": {"href": str(self.folder / "crops.npz"), "roles": ["data", "mlm:model"]}}}, []


def test_saved_and_loaded_again(forest: Forest, tmp_path: Path) -> None:
    (asset,) = write([save_ml_model(forest, "crops")], tmp_path)
    assert asset.path.name == "crops.npz" and "mlm:model" in asset.roles
    assert json.dumps(dict(asset.metadata))
    place = Place(tmp_path)
    for again in (load_ml_model("crops.npz", env=Env(files=place)), load_ml_model("j1", env=Env(results=place))):
        assert again.classes == forest.classes and again.features == forest.features
        np.testing.assert_array_equal(again.probabilities(X.T), forest.probabilities(X.T))
    with pytest.raises(ProcessError, match="ModelNotFound"):
        load_ml_model("j2", env=Env(results=place))
    with pytest.raises(ProcessError, match="AccessDenied"):
        load_ml_model("http://127.0.0.1:1/model.npz")


class Bomb:
    def __reduce__(self) -> Any:
        return (pytest.fail, ("a pickle was opened",))


def test_pickles_are_never_opened(forest: Forest, tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(Bomb()))
    held = np.empty(1, object)
    held[0] = Bomb()
    np.savez(tmp_path / "b.npz", metadata=held, roots=held)
    np.save(tmp_path / "c.npy", held, allow_pickle=True)
    for name in ("a.pkl", "b.npz", "c.npy"):
        with pytest.raises(ProcessError, match="ModelFormatUnsupported"):
            load(tmp_path / name)


@pytest.mark.parametrize(
    "damage",
    [
        {"left": lambda a: np.zeros_like(a)},  # walks in circles
        {"right": lambda a: a + 10_000_000},
        {"feature": lambda a: a + 100},
        {"roots": lambda a: a - 5},
        {"values": lambda a: a[:, :1]},
        {"threshold": lambda a: a[:5]},
        {"left": lambda a: a.astype("i8")},
    ],
    ids=lambda d: next(iter(d)),
)
def test_damaged_trees_are_refused(damage: dict[str, Any], forest: Forest, tmp_path: Path) -> None:
    changes: dict[str, Any] = {k: f(getattr(forest, k)) for k, f in damage.items()}
    replace(forest, **changes).save(tmp_path / "m.npz")
    with pytest.raises(ProcessError, match="ModelFormatUnsupported"):
        load(tmp_path / "m.npz")


def test_models_that_unpack_to_too_much_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("processes.ml.model.MOST_BYTES", 1 << 20)
    with zipfile.ZipFile(tmp_path / "m.npz", "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("roots.npy", bytes(8 << 20))
    with pytest.raises(ProcessError, match="larger than"):
        load(tmp_path / "m.npz")
