"""Callback graphs of the tests, compiled by the backend as in a request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backend.graph.callbacks import CompiledCallback


def compile(process: Mapping[str, Any]) -> CompiledCallback:
    """Callable of ``{"process_graph": ...}``."""
    return CompiledCallback(process["process_graph"])
