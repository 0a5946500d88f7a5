"""Cases that are wrong as published and that the shared patch leaves wrong, with the reason in each.

A correction names the published value (of long ones the length), so that it fails loudly once the standard's own
files change. Nothing here follows from what our implementation happens to do: every reason is a sentence of the
definition, another part of the same case, or plain arithmetic.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class Correction:
    """Replace the value at ``path`` of a case, which is ``published``, by ``correct``.

    `absent` stands for a missing key. A callable ``correct`` makes the new value of the old one; ``published`` is then
    the old one's length.
    """

    absent: ClassVar[str] = "(absent)"

    path: tuple[str | int, ...]
    published: Any
    correct: Any
    reason: str


C = Correction
NODATA = {"type": "nodata"}
Corrections = tuple[Correction, ...]


def _renamed(old: str, new: str) -> Corrections:
    reason = f"the cube's dimension is called {new}, and aggregation renames nothing"
    return (
        C(("returns", "order"), [old, "y", "x"], [new, "y", "x"], reason),
        C(("returns", "dimensions"), 3, lambda d: {new if k == old else k: v for k, v in d.items()}, reason),
    )


_JUNE = [f"2020-06-0{d}T00:00:00Z" for d in (1, 3, 5, 7, 9)]
_JANUARY = [f"2020-01-0{d}T00:00:00Z" for d in (1, 3, 5, 7, 9)]
_MONTH = C(
    ("arguments", "data", "dimensions", "t", "values"),
    _JUNE,
    _JANUARY,
    "the values expected are those of the intervals, in January; the cube's dates lie in June",
)
_ROUNDED = C(("delta",), C.absent, 0.0051, "the values expected are rounded to two or three decimals")
_165 = C(
    ("arguments", "data", "data", 2, 0, 3),
    255,
    165,
    "the value expected follows from 165, the value in the sibling file; 255 is nodata",
)
_MASK = C(
    ("arguments", "mask", "data"),
    [[1, 1, 1, 1], [1, 0, 0, 1], [0, 0, 1, 0]],
    [[0, 0, 0, 0], [0, 1, 1, 0], [1, 1, 0, 1]],
    "the process replaces pixels whose mask is not zero; the case expects the opposite",
)


def _condition(y: Any) -> Correction:
    def node(name: str) -> dict[str, Any]:
        arguments = {"x": {"from_parameter": name}, "y": y}
        return {"gt": {"process_id": "gt", "arguments": arguments, "result": True}}

    reason = "a callback is an object with process_graph, and its parameter is called x"
    return C(("arguments", "condition"), node("element"), {"process_graph": node("x")}, reason)


def _labelled(key: str, value: float) -> Correction:
    pairs = [{"key": key, "value": value}]
    return C(
        ("returns",), pairs, {"type": "labeled-array", "data": pairs}, "the tests write labelled arrays as objects"
    )


CORRECTIONS: dict[str, Corrections] = {
    "aggregate_temporal[5]": (_MONTH, _ROUNDED),
    "aggregate_temporal[6]": (_MONTH, _ROUNDED),
    "aggregate_temporal[7]": (_MONTH, _ROUNDED),
    "aggregate_temporal[8]": (_MONTH, _ROUNDED),
    "aggregate_temporal[9]": (
        _MONTH,
        _ROUNDED,
        C(("arguments", "reducer", "labels"), ["before", "after"], C.absent, "labels is a parameter of the process"),
        C(("arguments", "labels"), C.absent, ["before", "after"], "labels is a parameter of the process"),
    ),
    "aggregate_temporal[10]": (
        C(
            ("arguments", "reducer", "process_graph", "mean", "process_id"),
            "mean",
            "median",
            "the values expected are the medians (-12.23 is one of the five values, their mean is 0.002)",
        ),
        _ROUNDED,
    ),
    "aggregate_temporal_period[3]": (
        C(
            ("returns", "dimensions", "t", "values"),
            [f"2020-06-0{d}-00" for d in (1, 2, 3, 4)],
            [f"2020-06-01-0{h}" for h in range(5)],
            "the period is the hour: labels are YYYY-MM-DD-00 to -23; every hour from first to last has one",
        ),
        C(
            ("returns", "data"),
            4,
            lambda d: [*d[:3], [[math.nan] * 4] * 3, d[3]],
            "between 01:30 and 04:00 two hours are empty, not one",
        ),
    ),
    "aggregate_temporal_period[4]": (
        C(
            ("returns", "dimensions", "t", "values"),
            [f"2020-06-0{d}-00" for d in (1, 2, 3, 4)],
            [f"2020-{d}" for d in (153, 154, 155, 156)],
            "the period is the day: labels are YYYY-001 to YYYY-365",
        ),
    ),
    "aggregate_temporal_period[8]": _renamed("t", "t2"),
    "aggregate_temporal_period[9]": _renamed("t", "t2"),
    "all[8]": (C(("returns",), True, NODATA, "the truth table and the example [null] of the definition say nodata"),),
    "any[8]": (C(("returns",), False, NODATA, "the truth table and the example [null] of the definition say nodata"),),
    "apply[2]": (_165,),
    "apply_dimension[1]": (_165,),
    "apply_dimension[2]": (
        C(("arguments", "dimension"), "bands", "t", "the cube has no dimension bands"),
        C(("returns", "order"), C.absent, ["stats", "y", "x"], "a cube has an order of dimensions"),
        C(
            ("returns", "dimensions"),
            3,
            lambda d: {v["name"]: {k: x for k, x in v.items() if k != "name"} for v in d},
            "dimensions is an object by name",
        ),
    ),
    "array_append[0]": (C(("returns",), [1], [0], "the value appended is 0"),),
    "array_apply[8]": (
        C(("arguments", "process", "process_graph", "mulitply", "process_id"), "mulitply", "multiply", "typing error"),
        C(("returns", 3), 6.45, -6.45, "(-4.725 + 1.5) * 2 = -6.45"),
    ),
    "array_element[3]": (C(("arguments", "label"), "BO2", "B02", "typing error: letter O for digit zero"),),
    "array_filter[3]": (_labelled("B02", 0.98),),
    "array_filter[4]": (_labelled("B01", 1.23),),
    "array_filter[5]": (
        C(
            ("arguments", "condition", "process_graph", "const", "process_id"),
            "subtract",
            "gt",
            "a condition is boolean; 1.23 > 1 is what the case expects to keep",
        ),
    ),
    "array_find[6]": (C(("returns",), 1, 0, "3 is the first element, index 0"),),
    "array_modify[3]": (C(("arguments", "length"), C.absent, 1, "length is 0 by default, which removes nothing"),),
    "count[4]": (_condition(2),),
    "count[5]": (_condition({"from_parameter": "context"}),),
    "filter_bands[4]": (C(("arguments", "bands"), ["red", "blue"], ["blue", "green"], "blue and green are expected"),),
    "lte[15]": (C(("returns",), False, True, "minus infinity is less than infinity"),),
    "mask[0]": (_MASK,),
    "mask[1]": (
        _MASK,
        C(
            ("arguments", "data"),
            {"$ref": "assets/xyb-minimal-float.json5"},
            {"$ref": "assets/xyt-minimal-float.json5"},
            "typing error: the file does not exist, and t, y, x is expected",
        ),
    ),
    "mask[2]": (
        _MASK,
        *(
            C(("returns", "data", b, 2, 2), -1, 255, "the mask has this pixel kept, as in mask[0]; it is nodata")
            for b in range(3)
        ),
    ),
    "mask_polygon[0]": (
        C(("arguments", "inside"), True, False, "the polygon at 16 E lies far from the cube at 7.6 E: all is outside"),
    ),
    "mask_polygon[1]": (
        C(("arguments", "inside"), False, True, "the polygon at 16 E lies far from the cube at 7.6 E: none is inside"),
    ),
    "mask_polygon[6]": (
        C(
            ("returns", "data", 3, 5, 2),
            9,
            lambda row: [*row[:3], *[math.nan] * 4, *row[7:]],
            "these pixels are inside in the 23 other planes, and kept in the file for the outside",
        ),
    ),
    "product[10]": (C(("returns",), math.nan, -math.inf, "1 * -inf * 3 * inf = -inf (IEEE 754)"),),
    "reduce_dimension[1]": (_165,),
    "rename_dimension[3]": (C(("arguments", "source"), "x", "y", "lon takes the place of y in the result"),),
    "rename_dimension[4]": (C(("arguments", "source"), "y", "x", "lat takes the place of x in the result"),),
    "rename_labels[5]": (
        C(("arguments", "target"), C.absent, ["red", "green", "blue"], "target is required; source is optional"),
        C(("arguments", "source"), ["red", "green", "blue"], C.absent, "the cube has no such labels"),
    ),
    "rename_labels[7]": (
        C(("arguments", "target"), C.absent, ["red"], "target is required; source is optional"),
        C(("arguments", "source"), ["red"], C.absent, "the cube has no such label"),
    ),
}
