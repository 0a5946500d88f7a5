"""The only door to the processes: which exist, their definitions, their implementations.

An implementation is a plain function, registered where it is written::

    @process()                      # id = function name; definition in processes/specs/<id>.json
    def ndvi(data, nir=None, red=None, target_band=None, *, env=None): ...

    @process("and")                 # where the id is a Python keyword
    def and_(x, y): ...

    @process(demand=passes)         # takes part in push-down
    def mask(data, mask, replacement=None): ...

Parameter names are exactly those of the definition. A function that wants the environment declares the keyword
``env``. Callback parameters arrive as callables (see `processes.callback`).
"""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from processes.demand import DemandRule
from processes.env import Env
from processes.errors import ProcessError

SPECS = Path(__file__).parent / "specs"
# one folder per family; a chain folder holds the chain's process(es)
FAMILIES = (
    "scalar",
    "load",
    "filter",
    "reduce",
    "apply",
    "aggregate",
    "combine",
    "resample",
    "mask",
    "vector",
    "ml",
    "external",
    "save",
    "lis",
    "wasp",
)

# arguments known -> texts a call needs, by reference. Asked once per callback, where files and the web can be read
Prepare = Callable[[Mapping[str, Any], Env], Mapping[str, str]]

_found: dict[str, Process] = {}


@dataclass(frozen=True)
class Process:
    """One callable process: ``function`` with the interface that ``spec`` declares."""

    id: str
    function: Callable[..., Any]
    demand: DemandRule | None = None  # None: a barrier for push-down
    merge: str | None = None  # reducers: name of the streaming accumulator (see processes.blocks)
    pure: bool = True  # False: equal nodes are not one (random, inspect, run_udf)
    spec_file: Path | None = None
    prepare: Prepare | None = None
    told: Callable[[dict[str, Any]], dict[str, Any]] | None = None  # adds to the words what is installed here

    @cached_property
    def spec(self) -> dict[str, Any]:
        written = json.loads((self.spec_file or SPECS / f"{self.id}.json").read_text())
        return self.told(written) if self.told is not None else written

    @cached_property
    def wants_env(self) -> bool:
        return "env" in inspect.signature(self.function).parameters

    @cached_property
    def callbacks(self) -> dict[str, list[dict[str, Any]]]:
        """Callback parameters -> what the callback is called with (the definition's parameter list)."""
        return {p["name"]: c for p in self.spec["parameters"] if (c := callback_parameters(p["schema"])) is not None}


def callback_parameters(schema: Any) -> list[dict[str, Any]] | None:
    """Parameters a callback of this ``schema`` receives; None where the schema is not a process graph."""
    for option in schema if isinstance(schema, list) else [schema]:
        if option.get("subtype") == "process-graph":
            return option.get("parameters", [])
        for inner in option.get("anyOf", []) or option.get("oneOf", []):
            if (found := callback_parameters(inner)) is not None:
                return found
    return None


def process(
    id: str | None = None,
    *,
    demand: DemandRule | None = None,
    merge: str | None = None,
    pure: bool = True,
    spec: Path | None = None,
    prepare: Prepare | None = None,
    told: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function as the implementation of a process; the function itself is returned unchanged."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        name = id or function.__name__
        before = _found.get(name)
        if before is not None and before.function.__module__ != function.__module__:
            raise RuntimeError(
                f"process '{name}' is implemented in {before.function.__module__} and {function.__module__}"
            )
        _found[name] = Process(name, function, demand, merge, pure, spec, prepare, told)
        return function

    return register


@cache
def _discover() -> dict[str, Process]:
    for family in FAMILIES:
        package = importlib.import_module(f"processes.{family}")
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"processes.{family}.{module.name}")
    for point in entry_points(group="tuile.processes"):
        point.load()
    return _found


def processes() -> dict[str, Process]:
    """Every process by id."""
    return _discover()


def get(id: str) -> Process:
    """The process ``id``. Raises ``ProcessError('ProcessUnsupported')``."""
    try:
        return _discover()[id]
    except KeyError:
        raise ProcessError(
            "ProcessUnsupported", f"Process '{id}' is not supported by this backend.", process=id
        ) from None
