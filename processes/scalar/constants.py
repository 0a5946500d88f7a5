"""Constants."""

from __future__ import annotations

import math
from typing import Any

from processes.registry import process


@process()
def e() -> float:
    """Euler's number."""
    return math.e


@process()
def pi() -> float:
    """Circumference over diameter of a circle."""
    return math.pi


@process()
def nan() -> float:
    """Not a number (IEEE 754)."""
    return math.nan


@process()
def constant(x: Any) -> Any:
    """``x``, whatever it is."""
    return x
