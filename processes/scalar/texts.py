"""Texts: find and join. A pattern is taken literally."""

from __future__ import annotations

import json
import re
from typing import Any

from processes.errors import parameter_invalid
from processes.registry import process
from processes.scalar.values import elements, plain


def _text(value: Any, name: str) -> str | None:
    value = plain(value)
    if value is not None and not isinstance(value, str):
        raise parameter_invalid(name, f"expected a text, got {value!r}.")
    return value


def _search(data: Any, pattern: Any, case_sensitive: bool, expression: str = "{}") -> tuple[bool, int | None]:
    """(is there a text, position of the first match). ``expression`` anchors the pattern."""
    text, wanted = _text(data, "data"), _text(pattern, "pattern")
    if text is None or wanted is None:
        return False, None
    match = re.search(expression.format(re.escape(wanted)), text, 0 if case_sensitive else re.IGNORECASE)
    return True, match.start() if match else None


def _matches(data: Any, pattern: Any, case_sensitive: bool, expression: str) -> bool | None:
    given, place = _search(data, pattern, case_sensitive, expression)
    return (place is not None) if given else None


@process()
def text_begins(data: Any, pattern: Any, case_sensitive: bool = True) -> bool | None:
    """Whether a text starts with ``pattern``."""
    return _matches(data, pattern, case_sensitive, r"\A{}")


@process()
def text_ends(data: Any, pattern: Any, case_sensitive: bool = True) -> bool | None:
    """Whether a text ends with ``pattern``."""
    return _matches(data, pattern, case_sensitive, r"{}\Z")


@process()
def text_contains(data: Any, pattern: Any, case_sensitive: bool = True) -> bool | None:
    """Whether ``pattern`` comes in a text."""
    return _matches(data, pattern, case_sensitive, "{}")


@process()
def text_find(data: Any, pattern: Any, case_sensitive: bool = True) -> int | None:
    """Position of the first ``pattern`` in a text; None without one."""
    return _search(data, pattern, case_sensitive)[1]


def _written(value: Any) -> str:
    value = plain(value)
    return value if isinstance(value, str) else json.dumps(value)


@process()
def text_concat(data: Any, separator: Any = "") -> str:
    """The elements as text, joined; numbers, booleans and null are written as in JSON."""
    values, _ = elements(data)
    return _written(separator).join(_written(v) for v in values)
