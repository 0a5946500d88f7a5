"""Trigonometric and hyperbolic functions; angles in radians. Outside their domain they give NaN."""

from __future__ import annotations

from typing import Any

import numpy as np

from processes.registry import process
from processes.scalar.values import elementwise


def _apply(function: Any, x: Any) -> Any:
    return elementwise(lambda v: function(np.float64(v)), function, "x", x)


@process()
def sin(x: Any) -> Any:
    """Sine."""
    return _apply(np.sin, x)


@process()
def cos(x: Any) -> Any:
    """Cosine."""
    return _apply(np.cos, x)


@process()
def tan(x: Any) -> Any:
    """Tangent."""
    return _apply(np.tan, x)


@process()
def sinh(x: Any) -> Any:
    """Hyperbolic sine."""
    return _apply(np.sinh, x)


@process()
def cosh(x: Any) -> Any:
    """Hyperbolic cosine."""
    return _apply(np.cosh, x)


@process()
def tanh(x: Any) -> Any:
    """Hyperbolic tangent."""
    return _apply(np.tanh, x)


@process()
def arcsin(x: Any) -> Any:
    """Inverse sine, in [-pi/2, pi/2]."""
    return _apply(np.arcsin, x)


@process()
def arccos(x: Any) -> Any:
    """Inverse cosine, in [0, pi]."""
    return _apply(np.arccos, x)


@process()
def arctan(x: Any) -> Any:
    """Inverse tangent, in [-pi/2, pi/2]."""
    return _apply(np.arctan, x)


@process()
def arctan2(y: Any, x: Any) -> Any:
    """Angle of the point (x, y), in (-pi, pi]."""
    return elementwise(lambda b, a: np.arctan2(np.float64(b), np.float64(a)), np.arctan2, "y x", y, x)


@process()
def arsinh(x: Any) -> Any:
    """Inverse hyperbolic sine."""
    return _apply(np.arcsinh, x)


@process()
def arcosh(x: Any) -> Any:
    """Inverse hyperbolic cosine."""
    return _apply(np.arccosh, x)


@process()
def artanh(x: Any) -> Any:
    """Inverse hyperbolic tangent."""
    return _apply(np.arctanh, x)
