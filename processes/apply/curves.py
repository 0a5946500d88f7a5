"""`fit_curve`, `predict_curve`: a model function with parameters, fitted to and evaluated along a dimension."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from processes import cube as cubes
from processes import times
from processes.along import map_along
from processes.callback import Callback, LabeledArray
from processes.errors import parameter_invalid
from processes.probe import answer, decode, decoded_dtype
from processes.registry import process

_BATCH = 8192  # pixels fitted together: bounds the memory of Jacobians
_ITERATIONS = 100
_TOLERANCE = 1e-10


def abscissae(labels: Sequence[Any] | None, count: int) -> np.ndarray:
    """Labels as numbers (float64): instants are seconds since 1970-01-01 UTC, numbers stay, none are 0, 1, 2 ..."""
    if labels is None:
        return np.arange(count, dtype="f8")
    if all(isinstance(v, (int, float, np.integer, np.floating)) for v in labels):
        return np.array(labels, dtype="f8")
    return times.instants(labels).astype("i8") / 1e9


@process()
def fit_curve(
    data: LabeledArray | Sequence[Any],
    parameters: Sequence[float],
    function: Callback,
    ignore_nodata: bool = True,
) -> np.ndarray:
    """Parameters of ``function(x, parameters)`` that fit an array best in the least-squares sense.

    Levenberg-Marquardt (Marquardt 1963) in float64 on all pixels of the block at once, from the guess ``parameters``,
    with forward-difference Jacobians. ``x`` are the labels (`abscissae`). Used as the callback of `apply_dimension`.

    Returns
    -------
    ndarray, shape (number of parameters, ...pixels): NaN where there are fewer valid values than parameters, or where
    ``ignore_nodata`` is false and a value is nodata.
    """
    guess = np.array([np.nan if p is None else p for p in parameters], dtype="f8")
    if not guess.size or not np.isfinite(guess).all():
        raise parameter_invalid("parameters", "it must be a list of at least one number")
    labels = getattr(data, "labels", None)
    values = np.asarray(getattr(data, "values", data))
    observed = values.astype("f8")  # None of plain lists becomes NaN
    x = abscissae(labels, len(observed))
    pixels = observed.reshape(len(observed), -1)
    out = np.empty((guess.size, pixels.shape[1]))
    for start in range(0, pixels.shape[1], _BATCH):
        part = slice(start, start + _BATCH)
        out[:, part] = _fit(x, pixels[:, part], guess, function, ignore_nodata)
    return out.reshape(guess.size, *observed.shape[1:])


def _model(function: Callback, shape: tuple[int, ...]) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    def evaluate(x: np.ndarray, parameters: np.ndarray) -> np.ndarray:
        values = function(x=x[:, None], parameters=LabeledArray(parameters, None, None))
        return np.asarray(answer(values, shape), dtype="f8")

    return evaluate


def _fit(x: np.ndarray, y: np.ndarray, guess: np.ndarray, function: Callback, ignore_nodata: bool) -> np.ndarray:
    """Fit each column of ``y`` (values, pixels); returns (parameters, pixels)."""
    k, n = guess.size, y.shape[1]
    valid = np.isfinite(y)
    usable = valid.sum(axis=0) >= k if ignore_nodata else valid.all(axis=0)
    target = np.where(valid, y, 0.0)
    model = _model(function, y.shape)
    p = np.repeat(guess[:, None], n, axis=1)
    damping = np.full(n, 1e-3)

    def residual(parameters: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return np.where(valid, target - model(x, parameters), 0.0)

    r = residual(p)
    cost = (r * r).sum(axis=0)
    running = usable & np.isfinite(cost)
    for _ in range(_ITERATIONS):
        if not running.any():
            break
        jacobian = _jacobian(residual, p, r)
        normal = np.einsum("ivp,jvp->pij", jacobian, jacobian)
        gradient = np.einsum("ivp,vp->pi", jacobian, r)
        diagonal = np.einsum("pii->pi", normal)
        damped = normal + np.eye(k) * (damping[:, None] * np.maximum(diagonal, 1e-300))[:, :, None]
        step = _solved(damped, gradient).T
        trial = p + step
        r_trial = residual(trial)
        cost_trial = (r_trial * r_trial).sum(axis=0)
        better = running & np.isfinite(cost_trial) & (cost_trial <= cost)
        gain = cost - cost_trial
        small = np.abs(step).max(axis=0) <= _TOLERANCE * (np.abs(p).max(axis=0) + _TOLERANCE)
        p = np.where(better, trial, p)
        r = np.where(better, r_trial, r)
        settled = better & (small | (gain <= _TOLERANCE**2 * cost))
        stuck = running & ~better & (damping > 1e12)
        cost = np.where(better, cost_trial, cost)
        damping = np.where(better, np.maximum(damping / 10, 1e-15), damping * 10)
        running &= ~(settled | stuck)
    p[:, ~usable] = np.nan
    return p


def _jacobian(residual: Callable[[np.ndarray], np.ndarray], p: np.ndarray, r: np.ndarray) -> np.ndarray:
    """Derivatives of the model by its parameters (forward differences), shape (parameters, values, pixels)."""
    root = np.sqrt(np.finfo("f8").eps)
    columns = []
    for i in range(len(p)):
        h = root * np.maximum(np.abs(p[i]), root)
        h = np.where(np.abs(p[i]) > 0, h, root)
        moved = p.copy()
        moved[i] += h
        columns.append((r - residual(moved)) / h)
    return np.nan_to_num(np.stack(columns), nan=0.0, posinf=0.0, neginf=0.0)


def _solved(matrices: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solutions (pixels, k) of the normal equations, scaled to a unit diagonal first; zero where singular."""
    scale = 1 / np.sqrt(np.maximum(np.einsum("pii->pi", matrices), 1e-300))
    scaled = matrices * scale[:, :, None] * scale[:, None, :]
    tiny = np.eye(matrices.shape[1]) * 1e-15
    try:
        solution = np.linalg.solve(scaled + tiny, (right * scale)[..., None])[..., 0] * scale
    except np.linalg.LinAlgError:  # one singular pixel would fail all: least squares of each
        solution = np.stack([np.linalg.lstsq(m, b, rcond=None)[0] for m, b in zip(scaled, right * scale)]) * scale
    return np.nan_to_num(solution, nan=0.0, posinf=0.0, neginf=0.0)


@process()
def predict_curve(
    parameters: xr.DataArray, function: Callback, dimension: str, labels: Sequence[Any] | None = None
) -> xr.DataArray:
    """Values of ``function(x, parameters)`` for new ``labels`` along ``dimension``.

    The cube's parameters lie along ``dimension``, or else along its only dimension of type other; that dimension is
    replaced. Labels that are dates make it temporal. Raises ``DimensionNotAvailable``, ``ProcessParameterInvalid``.
    """
    held = dimension if dimension in parameters.dims else _only_other(parameters, dimension)
    if not labels:
        raise parameter_invalid(
            "labels", "give the labels to predict values for: a cube of parameters has no values of its own to fill in"
        )
    x = abscissae(labels, len(labels))
    dated = any(isinstance(v, str) for v in labels)
    nodata = parameters.attrs.get("nodata")
    dtype = np.result_type(decoded_dtype(parameters), np.float32)

    def on_block(block: np.ndarray) -> np.ndarray:
        values = decode(block, nodata).astype("f8")
        flat = values.reshape(len(values), -1)
        predicted = _model(function, (len(x), flat.shape[1]))(x, flat)
        return predicted.reshape(len(x), *block.shape[1:])

    coordinate, kind = (times.instants(labels), cubes.TEMPORAL) if dated else (list(labels), cubes.OTHER)
    out = map_along(on_block, parameters, held, coordinate, kind, dtype, target=dimension)
    out.attrs.pop("nodata", None)
    return out


def _only_other(parameters: xr.DataArray, dimension: str) -> str:
    others = cubes.dims_of(parameters, cubes.OTHER)
    if len(others) == 1:
        return others[0]
    cubes.require(parameters, dimension)
    return dimension
