"""Payloads for the suite's general module.

Its distribution holds none, so these are ours, of the kinds its repository has: jobs on the collection CGLS_SSM_1KM with
band B01 near Vienna in 2020, format "NETCDF" in upper case, empty ``properties``, plan and budget given or null; a
user-defined process by expression; and one whose only node lacks its arguments. Without them most of the module would
pass without having asked anything.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.conformance.live_archive import SOIL

WHERE = {"west": 16.1875, "south": 48.0875, "east": 16.5765, "north": 48.2929}
WHEN = ["2020-01-01T00:00:00Z", "2020-12-13T00:00:00Z"]


def _node(process_id: str, result: bool = False, **arguments: Any) -> dict[str, Any]:
    return {"process_id": process_id, "arguments": arguments, **({"result": True} if result else {})}


def _load_and_save() -> dict[str, Any]:
    return {
        "load": _node(
            "load_collection", id=SOIL, bands=["B01"], properties={}, spatial_extent=WHERE, temporal_extent=WHEN
        ),
        "save": _node("save_result", result=True, data={"from_node": "load"}, format="NETCDF"),
    }


def _process(graph: dict[str, Any]) -> dict[str, Any]:
    return {"categories": [], "deprecated": False, "experimental": False, "process_graph": graph}


def _job(title: str, **more: Any) -> dict[str, Any]:
    return {"title": title, "process": _process(_load_and_save()), **more}


def _water_stress() -> dict[str, Any]:
    """(x - low) / (high - low), as a process with parameters."""
    low, high, x = ({"from_parameter": name} for name in ("low", "high", "x"))
    return {
        "id": "relative_moisture",
        "summary": "Soil moisture between its limits",
        "description": "0 at the wilting point, 1 at field capacity.",
        "parameters": [
            {"name": name, "description": f"The {name} value.", "schema": {"type": "number"}}
            for name in ("x", "low", "high")
        ],
        "returns": {"description": "Share of the available water.", "schema": {"type": "number"}},
        "process_graph": {
            "above": _node("subtract", x=x, y=low),
            "range": _node("subtract", x=high, y=low),
            "share": _node("divide", result=True, x={"from_node": "above"}, y={"from_node": "range"}),
        },
    }


def _without_arguments() -> dict[str, Any]:
    return {"process_graph": {"a": {"process_id": "absolute", "arguments": {}, "result": True}}}


PAYLOADS: dict[str, list[dict[str, Any]]] = {
    "post_jobs": [
        _job("suite", plan="free", budget=100),
        _job("suite with nulls", description=None, plan=None, budget=None),
    ],
    "patch_jobs": [_job("changed", plan="free", budget=100), _job("changed too", description=None, budget=None)],
    "post_result": [{"process": _process(_load_and_save()), "plan": "free", "budget": 100}],
    "post_validation": [_water_stress(), _process(_load_and_save())],
    # without parameters: the suite's validator refuses every schema of a number (see expected.json, test_GET_processes)
    "put_process_graphs": [_without_arguments(), {"process_graph": _load_and_save(), "parameters": []}],
    "empty_payload": [{}],
}


def write(folder: Path) -> None:
    """One JSON file per payload, in a folder per kind."""
    for kind, payloads in PAYLOADS.items():
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for number, payload in enumerate(payloads, 1):
            (folder / kind / f"{kind}_{number}.json").write_text(json.dumps(payload, indent=1))
