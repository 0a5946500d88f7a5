"""Compare a result with what a test expects, with the official suite's tolerances; stricter where it is lax.

Stricter: a boolean must be a boolean outside cubes (the suite takes 1.0 for true), an exception must have the code named (the suite
only warns). As in the suite, ``reference_system`` and the fill value itself are not compared, and data of a cube only
where the test gives any. A spatial dimension's ``axis`` is compared where the test tells one: the suite hands its
decoder the object expected, so a runner may write as much of a dimension as the test asks about.
"""

from __future__ import annotations

import math
from typing import Any

from tests.conformance.encoding import instant

DELTA = 1e-10


def differences(expected: Any, result: Any, delta: float = DELTA, where: str = "result") -> list[str]:
    """What differs, in words; empty where the result is as expected."""
    if isinstance(expected, dict):
        if expected.get("type") == "nodata":
            return [] if result is None else [f"{where}: {result!r} instead of nodata"]
        if expected.get("type") == "datetime":
            same = instant(expected) is not None and instant(expected) == instant(result)
            return [] if same else [f"{where}: {result!r} instead of {expected['value']!r}"]
        if expected.get("type") == "datacube":
            return _cubes(expected, result, delta)
        return _objects(expected, result, delta, where)
    if isinstance(expected, list):
        if not isinstance(result, list):
            return [f"{where}: {result!r} instead of an array"]
        if len(expected) != len(result):
            return [f"{where}: {len(result)} elements instead of {len(expected)}: {result!r}"]
        pairs = enumerate(zip(expected, result))
        return [d for i, (e, r) in pairs for d in differences(e, r, delta, f"{where}[{i}]")]
    return [] if _same(expected, result, delta) else [f"{where}: {result!r} instead of {expected!r}"]


def _same(expected: Any, result: Any, delta: float) -> bool:
    if isinstance(expected, bool) or isinstance(result, bool):
        return expected is result
    if isinstance(expected, (int, float)) and isinstance(result, (int, float)):
        if math.isnan(expected) or math.isnan(result):
            return math.isnan(expected) and math.isnan(result)
        return math.isclose(expected, result, rel_tol=1e-9, abs_tol=delta)
    return type(expected) is type(result) and expected == result


def _objects(expected: dict[str, Any], result: Any, delta: float, where: str) -> list[str]:
    if not isinstance(result, dict):
        return [f"{where}: {result!r} instead of an object"]
    if set(expected) != set(result):
        return [f"{where}: keys {sorted(result)} instead of {sorted(expected)}"]
    return [d for k in expected for d in differences(expected[k], result[k], delta, f"{where}.{k}")]


def _cubes(expected: dict[str, Any], result: Any, delta: float) -> list[str]:
    if not isinstance(result, dict) or result.get("type") != "datacube":
        return [f"result: {result!r} instead of a cube"]
    ignored = {"nodata", "data"}
    if unknown := set(expected) - set(result) - ignored:
        return [f"cube: no {sorted(unknown)}"]
    if missing := set(result) - set(expected) - ignored:
        return [f"cube: {sorted(missing)} not expected"]
    found = differences(expected["order"], result["order"], delta, "order")
    found += _dimensions(expected["dimensions"], result["dimensions"], delta)
    if expected.get("data") is not None:
        fill = expected.get("nodata")
        fill = fill[0] if isinstance(fill, list) and fill else fill
        found += differences(_filled(expected["data"], fill), _filled(result["data"], None), delta, "data")
    return found


def _dimensions(expected: Any, result: dict[str, Any], delta: float) -> list[str]:
    if not isinstance(expected, dict) or set(expected) != set(result):
        return [f"dimensions: {sorted(result)} instead of {expected!r}"]
    found = []
    for name, dimension in expected.items():
        ours = dict(result[name])
        theirs = {k: v for k, v in dimension.items() if k != "reference_system"}
        if "axis" not in theirs:
            ours.pop("axis", None)
        # date-time texts of one instant are one label, whatever their precision
        if len(ours["values"]) == len(theirs.get("values", ())):
            pairs = zip(theirs["values"], ours["values"])
            ours["values"] = [t if instant(t) and instant(t) == instant(o) else o for t, o in pairs]
        found += differences(theirs, ours, delta, f"dimensions.{name}")
    return found


def _filled(values: Any, fill: Any) -> Any:
    """Nodata of a cube in one notation: NaN for null, NaN and the fill value."""
    if isinstance(values, list):
        return [_filled(v, fill) for v in values]
    if values is None or (fill is not None and values == fill):
        return math.nan
    return int(values) if isinstance(values, bool) else values  # pixels: true is 1, as where NaN stands beside it
