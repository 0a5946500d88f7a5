"""`spectral_indices`: any index of the Awesome Spectral Indices catalogue (Montero et al. 2023) by its short name.

The catalogue (formulas, constants, bands) comes with the library spyndex; formulas are parsed, checked and run on
numpy blocks, all indices of a call in one function.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import xarray as xr

from processes import cube as cubes
from processes.along import map_along
from processes.blocks import map_blocks
from processes.demand import Demand
from processes.errors import ProcessError, parameter_invalid
from processes.probe import decode, decoded_dtype
from processes.registry import process

# Common names that stand in where the catalogue's own is missing (Landsat's near infrared is "nir08").
STAND_INS = {"N": ("nir08",), "T": ("lwir11",), "N2": ("nir",), "RE1": ("rededge",)}
_KERNEL = re.compile(r"k([A-Z])([A-Z])")
_OPERATORS = {ast.Add: np.add, ast.Sub: np.subtract, ast.Mult: np.multiply, ast.Div: np.divide, ast.Pow: np.power}


@dataclass(frozen=True)
class Index:
    """An index: its formula and the variables in it (bands and constants)."""

    name: str
    formula: str
    variables: tuple[str, ...]


@lru_cache(maxsize=1)
def catalogue() -> dict[str, Index]:
    """Every index by short name."""
    import spyndex  # heavy: only where it is needed

    return {str(k): Index(str(k), i.formula, tuple(i.bands)) for k, i in spyndex.indices.items()}


@lru_cache(maxsize=1)
def constants() -> dict[str, float]:
    """Constants with a default value."""
    import spyndex

    return {str(k): float(c.default) for k, c in spyndex.constants.items() if c.default is not None}


@lru_cache(maxsize=1)
def spectral_bands() -> dict[str, tuple[tuple[str, ...], tuple[float, float]]]:
    """Variable -> (common names, wavelengths from and to in um)."""
    import spyndex

    return {
        str(k): ((b.common_name, *STAND_INS.get(str(k), ())), (b.min_wavelength / 1000, b.max_wavelength / 1000))
        for k, b in spyndex.bands.items()
    }


def index_named(name: str) -> Index:
    """The index with a short name, in any case. Raises ``IndexUnknown`` naming similar ones."""
    known = catalogue()
    if name in known:
        return known[name]
    lower = {k.lower(): k for k in known}
    if str(name).lower() in lower:
        return known[lower[str(name).lower()]]
    close = [lower[m] for m in difflib.get_close_matches(str(name).lower(), list(lower), n=5, cutoff=0.5)]
    raise ProcessError(
        "IndexUnknown",
        f"There is no spectral index '{name}'{'; similar ones are ' + ', '.join(close) if close else ''}. All are "
        "listed at https://github.com/awesome-spectral-indices/awesome-spectral-indices.",
    )


def _leaves(variables: Sequence[str]) -> list[str]:
    """Variables with kernel terms (kNR: of near infrared and red) taken apart."""
    out: list[str] = []
    for v in variables:
        found = _KERNEL.fullmatch(v)
        out += [*found.groups(), "sigma"] if found else [v]
    return list(dict.fromkeys(out))


def spectral_indices_demand(args: Mapping[str, Any], demand: Demand) -> dict[str, Demand]:
    """The bands that the indices look at, by common name; all of them where they are added to the cube."""
    everything = {"data": demand.with_(bands=None)}
    names, given = args.get("indices"), args.get("variables") or {}
    if args.get("append") or not isinstance(given, Mapping) or not isinstance(names, (str, list)):
        return everything
    try:
        found = [index_named(n) for n in ([names] if isinstance(names, str) else names)]
    except ProcessError:
        return everything
    wanted: list[str] = []
    for variable in _leaves([v for i in found for v in i.variables]):
        value = given.get(variable)
        if isinstance(value, str):
            wanted.append(value)
        elif value is None and variable in spectral_bands():
            wanted.append(spectral_bands()[variable][0][0])
        elif isinstance(value, Mapping):
            return everything
    return {"data": demand.with_(bands=tuple(dict.fromkeys(wanted)))}


@process(demand=spectral_indices_demand)
def spectral_indices(
    data: xr.DataArray,
    indices: str | Sequence[str],
    variables: Mapping[str, Any] | None = None,
    append: bool = False,
) -> xr.DataArray:
    """Spectral indices by name, float32, of a cube with bands; NaN where a band is nodata or the index has no value.

    Parameters
    ----------
    indices : one short name (the band dimension vanishes, as with `ndvi`) or several (they become the bands)
    variables : variable of the formulas -> band label, or number for a constant. By default bands are found by common
        name, else by wavelength; constants have the catalogue's values
    append : add the indices to the bands there are

    Raises
    ------
    ProcessError
        ``IndexUnknown``, ``BandAmbiguous``, ``BandMissing``, ``BandExists``, ``DimensionMissing``,
        ``ProcessParameterInvalid``.
    """
    dimension = cubes.bands_dim(data)
    single = isinstance(indices, str)
    asked = [indices] if isinstance(indices, str) else list(indices)
    if not asked:
        raise parameter_invalid("indices", "name at least one index")
    found = [index_named(str(n)) for n in asked]
    cubes.check_unique([i.name for i in found], "Index")
    present = cubes.labels(data, dimension)
    if append and (clash := next((i.name for i in found if i.name in present), None)):
        raise ProcessError("BandExists", f"The cube has a band '{clash}' already.")
    given = dict(variables or {})
    leaves = _leaves([v for i in found for v in i.variables])
    if unknown := [v for v in given if v not in leaves]:
        raise parameter_invalid("variables", f"no index asked for has the variable '{unknown[0]}'; there are {', '.join(leaves)}")  # fmt: skip
    rows, fixed = _resolved(leaves, given, data, present)
    formulas = [_compiled(i.formula) for i in found]
    nodata = data.attrs.get("nodata")
    dtype = np.result_type(np.float32, decoded_dtype(data))

    def on_block(block: np.ndarray) -> np.ndarray:
        held: dict[str, Any] = dict(fixed)
        for variable, row in rows.items():
            held[variable] = decode(block[row], nodata).astype(dtype, copy=False)
        with np.errstate(all="ignore"):
            values = [_finite(f(held), block.shape[1:], dtype) for f in formulas]
        if append:
            return np.concatenate([decode(block, nodata).astype(dtype, copy=False), np.stack(values)])
        return values[0] if single else np.stack(values)

    if single and not append:
        out = map_blocks(on_block, data, core=[dimension], dtype=dtype)
    else:
        names = [*(present if append else []), *(i.name for i in found)]
        out = map_along(on_block, data, dimension, names, cubes.BANDS, dtype)
    if not append:
        out.attrs.pop("band_info", None)
    out.attrs.pop("nodata", None)
    return out


def _finite(values: Any, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    out = np.broadcast_to(np.asarray(values, dtype), shape)
    return np.where(np.isfinite(out), out, dtype.type(np.nan))


def _resolved(
    variables: Sequence[str], given: Mapping[str, Any], data: xr.DataArray, present: list[Any]
) -> tuple[dict[str, int], dict[str, float]]:
    """Variables that are bands, with their row, and those that are numbers."""
    rows: dict[str, int] = {}
    fixed: dict[str, float] = {}
    for variable in variables:
        value = given.get(variable)
        if isinstance(value, str):
            if value not in present:
                raise ProcessError("BandMissing", f"There is no band '{value}' for the variable {variable}; there are {', '.join(map(str, present))}.")  # fmt: skip
            rows[variable] = present.index(value)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            fixed[variable] = float(value)
        elif value is not None:
            raise parameter_invalid("variables", f"'{variable}' must be a band label or a number")
        elif variable in spectral_bands():
            rows[variable] = present.index(_band(variable, data, present))
        elif variable in constants():
            fixed[variable] = constants()[variable]
        else:
            raise ProcessError("BandMissing", f"The variable {variable} has no default; give it in 'variables', as a number or a band label.")  # fmt: skip
    return rows, fixed


def _band(variable: str, data: xr.DataArray, present: Sequence[Any]) -> Any:
    common, (shortest, longest) = spectral_bands()[variable]
    for name in common:
        found = cubes.bands_named(data, name) if name else []
        if len(found) == 1:
            return found[0]
        if found:
            raise ProcessError("BandAmbiguous", f"Several bands have the common name '{name}' ({', '.join(found)}); say in 'variables' which one is {variable}.")  # fmt: skip
    info = data.attrs.get("band_info", {})
    near = {
        b: abs(w - (shortest + longest) / 2)
        for b in present
        if (w := info.get(b, {}).get("wavelength")) is not None and shortest <= w <= longest
    }
    if near:
        return min(near, key=lambda b: near[b])
    raise ProcessError(
        "BandMissing",
        f"No band is {variable} ({common[0]}, {shortest:g} to {longest:g} um); name it in 'variables'. There are "
        f"{', '.join(map(str, present))}.",
    )


@lru_cache(maxsize=512)
def _compiled(formula: str) -> Callable[[Mapping[str, Any]], Any]:
    """A function of the variables' values; formulas are arithmetic and nothing else."""
    tree = ast.parse(formula, mode="eval").body

    def evaluate(node: ast.AST, held: Mapping[str, Any]) -> Any:
        match node:
            case ast.BinOp(left, operator, right) if type(operator) in _OPERATORS:
                return _OPERATORS[type(operator)](evaluate(left, held), evaluate(right, held))
            case ast.UnaryOp(ast.USub(), operand):
                return -evaluate(operand, held)
            case ast.UnaryOp(ast.UAdd(), operand):
                return evaluate(operand, held)
            case ast.Constant(int() | float() as value):
                return float(value)
            case ast.Name(name):
                return held[name] if name in held else _kernel(name, held)
        raise ProcessError("FeatureUnsupported", f"The formula '{formula}' cannot be computed here.")

    return lambda held: evaluate(tree, held)


def _kernel(name: str, held: Mapping[str, Any]) -> Any:
    """RBF kernel of two bands (Camps-Valls et al. 2021): exp(-(a - b)^2 / (2 sigma^2))."""
    found = _KERNEL.fullmatch(name)
    assert found is not None
    a, b = (held[v] for v in found.groups())
    return np.exp(-np.square(a - b) / (2 * held["sigma"] ** 2))
