"""Cases of the forests on cubes, for the suite that every cube process passes."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np

from processes import cube as cubes
from processes.apply.apply import apply_dimension
from processes.ml.model import Forest, Untrained
from processes.ml.predict import ml_predict, predict_probabilities, predict_random_forest
from processes.ml.train import fit_class_random_forest, fit_regr_random_forest, ml_fit
from processes.reduce.dimension import reduce_dimension
from processes.vector.cube import vector_cube
from tests.unit.processes.cubes.cases import Case
from tests.unit.processes.cubes.samples import CRS, Make, box, values

V = values()
BANDS = ("B1", "B2", "B3")


def stump(task: str, leaves: list[list[float]], classes: tuple[Any, ...]) -> Forest:
    """One tree with one question: is B2 at most 1?"""
    return Forest(
        task, BANDS, classes, roots=np.array([0]), feature=np.array([1, -1, -1], "i4"), threshold=np.array([1.0, 0, 0]),
        left=np.array([1, 0, 0], "i4"), right=np.array([2, 0, 0], "i4"), values=np.array(leaves),
    )  # fmt: skip


CLASSES = stump("classification", [[0.5, 0.5], [0.75, 0.25], [0.1, 0.9]], (3, 8))
NUMBERS = stump("regression", [[0.0], [-2.5], [4.0]], ())


def where(low: float, high: float) -> np.ndarray:
    """(t, y, x) by the question of the stump; NaN where a band is nodata."""
    answers = np.where(V[:, 1] <= 1, low, high)
    return np.where(np.isnan(V).any(axis=1), np.nan, answers)


# well apart: whatever samples a tree draws, it tells the two groups from one another
SAMPLES = np.concatenate([values((12, 3), 1, 0), values((12, 3), 2, 0) + 50])
SQUARES = [box(k, k, k + 1, k + 1) for k in range(24)]
GROUPS = [2] * 12 + [7] * 12
WHY = "training needs the values"


def samples(make: Make, **properties: Any) -> Any:
    held = SAMPLES if make.chunking == "numpy" else da.from_array(SAMPLES, chunks=(5, 2))
    bands = make.names["bands"]
    return vector_cube(
        SQUARES, CRS, held, dims=("geometry", bands), coords={bands: list(BANDS)}, kinds={bands: cubes.BANDS},
        properties=properties,
    )  # fmt: skip


def target() -> Any:
    """Labels of the squares, as a vector cube with values."""
    return vector_cube(SQUARES, CRS, np.array(GROUPS, "f8"), dims=("geometry",))


def predicted(forest: Forest) -> list[float]:
    return [float(v) for v in forest.predict(SAMPLES.T)]


def learnt(k: float) -> list[float]:
    return [float(v) for v in GROUPS]


def grown(make: Make) -> list[float]:
    untrained = Untrained("classification", "all", 5, 1)
    return predicted(ml_fit(untrained, samples(make, cover=np.array(GROUPS)), "cover"))


CASES = [
    Case("ml_predict", lambda m, n, k: ml_predict(m(V), CLASSES), lambda k: where(3, 8)[..., None]),
    Case(
        "ml_predict", lambda m, n, k: ml_predict(m(V), NUMBERS), lambda k: where(-2.5, 4)[..., None], note="regression"
    ),
    Case(
        "predict_random_forest",
        lambda m, n, k: reduce_dimension(
            m(V), lambda data, context: predict_random_forest(data, CLASSES) * np.float32(context), n["bands"], k
        ),
        lambda k: where(3, 8) * k,
        callback=True,
    ),
    Case(
        "predict_probabilities",
        lambda m, n, k: apply_dimension(
            m(V),
            lambda data, context: predict_probabilities(data, CLASSES).values * np.float32(context),
            n["bands"],
            context=k,
        ),
        lambda k: np.stack([where(0.75, 0.1), where(0.25, 0.9)], axis=1) * k,
        callback=True,
    ),
    Case(
        "fit_class_random_forest",
        lambda m, n, k: predicted(fit_class_random_forest(samples(m), target(), "sqrt", 15, 1)),
        learnt,
        eager=WHY,
    ),
    Case(
        "fit_regr_random_forest",
        lambda m, n, k: predicted(fit_regr_random_forest(samples(m), target(), "all", 15, 1)),
        learnt,
        eager=WHY,
    ),
    Case("ml_fit", lambda m, n, k: grown(m), learnt, eager=WHY),
]
