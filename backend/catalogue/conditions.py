"""Conditions on item properties: pushed into SQL where the index has a column, else tested on the item."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import sqlalchemy as sa

from backend.catalogue.tables import COLUMNS
from processes.errors import ProcessError

Condition = tuple[str, str, Any]


def split(where: Sequence[Condition]) -> tuple[list[sa.ColumnElement[bool]], list[Callable[[dict[str, Any]], bool]]]:
    """Conditions for SQL columns, and tests on item properties for the rest."""
    pushed: list[sa.ColumnElement[bool]] = []
    rest: list[Callable[[dict[str, Any]], bool]] = []
    for name, op, value in where:
        if op not in OPERATORS:
            raise ProcessError(
                "ProcessParameterInvalid", f"The operator '{op}' is not known; there are {', '.join(OPERATORS)}."
            )
        if name in COLUMNS:
            pushed.append(_push(COLUMNS[name], op, value))
        else:
            rest.append(partial(_holds, name, op, value))
    return pushed, rest


def _push(column: sa.Column[Any], op: str, value: Any) -> sa.ColumnElement[bool]:
    if op == "in":
        return column.in_([v for v in value if _comparable(column, v)])
    if not all(_comparable(column, v) for v in (value if op == "between" else [value])):
        # databases disagree about text beside numbers; as everywhere here it is no match (for != : anything known is)
        return column.is_not(None) if op == "!=" else sa.false()
    if op == "between":
        return column.between(value[0], value[1])
    if op == "=":
        return column == value
    if op == "!=":
        return column != value
    return column.op(op, is_comparison=True)(value)


def _comparable(column: sa.Column[Any], value: Any) -> bool:
    if isinstance(column.type, sa.String):
        return isinstance(value, str)
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "in": lambda a, b: a in b,
    "between": lambda a, b: b[0] <= a <= b[1],
}


def _holds(name: str, op: str, value: Any, properties: dict[str, Any]) -> bool:
    own = properties.get(name)
    try:
        return own is not None and OPERATORS[op](own, value)
    except TypeError:  # text compared with a number: not a match
        return False
