"""The one error a process raises for something its caller can mend."""

from __future__ import annotations

from typing import Any


class ProcessError(Exception):
    """A mistake in what was asked, told in the caller's words.

    Parameters
    ----------
    code
        openEO error code: one of the API's (``CollectionNotFound``, ``ProcessParameterInvalid`` ...) or one of
        the ``exceptions`` of the process's own definition (``DimensionNotAvailable``, ``QuantilesParameterMissing`` ...).
    message
        One sentence: what is wrong, with the values involved, and what to do.
    data
        Machine-readable details (plain JSON).

    The evaluator adds the node path and the service adds the HTTP status; a process knows neither.
    """

    def __init__(self, code: str, message: str, **data: Any):
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.data = data

    def __reduce__(self):  # keeps code and data when an error crosses a process boundary
        return _rebuild, (type(self), self.code, self.message, self.data)


def _rebuild(cls: type[ProcessError], code: str, message: str, data: dict[str, Any]) -> ProcessError:
    return cls(code, message, **data)


def parameter_invalid(parameter: str, reason: str) -> ProcessError:
    """``ProcessParameterInvalid`` for ``parameter`` (the process id is added by the evaluator)."""
    return ProcessError(
        "ProcessParameterInvalid",
        f"The value passed for parameter '{parameter}' is invalid: {reason}",
        parameter=parameter,
    )


def dimension_missing(name: str, available: Any) -> ProcessError:
    """``DimensionNotAvailable``: ``name`` is not among the dimensions ``available``."""
    return ProcessError(
        "DimensionNotAvailable",
        f"A dimension with the name '{name}' does not exist; the cube has {', '.join(map(str, available)) or 'none'}.",
        dimension=name,
    )
