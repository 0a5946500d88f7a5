"""Cases that are wrong as published and that the shared patch leaves wrong, with the reason in each.

A correction names the published value, so that it fails loudly once the standard's own files change. Nothing here
follows from what our implementation happens to do: every reason is a sentence of the definition or plain arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class Correction:
    """Replace the value at ``path`` of a case: ``published`` by ``correct`` (`absent`: the key is missing)."""

    absent: ClassVar[str] = "(absent)"

    path: tuple[str | int, ...]
    published: Any
    correct: Any
    reason: str


CORRECTIONS: dict[str, tuple[Correction, ...]] = {}
