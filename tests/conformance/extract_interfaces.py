"""Write ``processes/specs/<id>.json`` from the standard's interface and our own words.

    python -m tests.conformance.extract_interfaces            # writes
    python -m tests.conformance.extract_interfaces --check    # fails where a file differs

From the standard (openEO processes 2.0.0-rc.2, ``$TUILE_SHARED/openeo/assets/processes``) come facts only: ids,
categories, flags, parameters (name, order, optional, default, deprecated, schema), the schema returned and exception
codes. Schemas are taken whole: a client compares them for equality. Every sentence outside a schema is ours
(`tests.conformance.words`).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from processes.registry import SPECS
from tests.conformance import words
from tests.conformance.assets import definitions_folder


def definitions(folder: Path) -> Iterator[dict[str, Any]]:
    """The standard's definitions: stable ones and proposals, ordered by id."""
    files = [*folder.glob("*.json"), *folder.glob("proposals/*.json")]
    for file in sorted(files, key=lambda f: f.stem):
        yield json.loads(file.read_text(encoding="utf-8"))


def parameter(process: str, source: dict[str, Any]) -> dict[str, Any]:
    name = source["name"]
    text = words.PARAMETERS_OF.get((process, name)) or words.PARAMETERS[name]
    flags = {k: source[k] for k in ("optional", "default", "deprecated", "experimental") if k in source}
    return {"name": name, "description": text, "schema": source["schema"], **flags}


def exception(process: str, code: str, source: dict[str, Any]) -> dict[str, Any]:
    text = words.EXCEPTIONS_OF.get((process, code)) or words.EXCEPTIONS[code]
    return {"message": text, **{k: source[k] for k in ("http",) if k in source}}


def spec(source: dict[str, Any]) -> dict[str, Any]:
    """Our definition: the interface of ``source`` in our words. Raises ``KeyError`` where words are missing."""
    id = source["id"]
    summary, description, returned = words.PROCESSES[id]
    result: dict[str, Any] = {"id": id, "summary": summary, "description": description}
    result["categories"] = source.get("categories", [])
    result |= {k: True for k in ("deprecated", "experimental") if source.get(k)}
    result["parameters"] = [parameter(id, p) for p in source["parameters"]]
    result["returns"] = {"description": returned, "schema": source["returns"]["schema"]}
    if source.get("exceptions"):
        result["exceptions"] = {c: exception(id, c, e) for c, e in source["exceptions"].items()}
    return result


def text(source: dict[str, Any]) -> str:
    return json.dumps(spec(source), indent=2, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> int:
    stale = 0
    for source in definitions(definitions_folder()):
        file = SPECS / f"{source['id']}.json"
        if file.exists() and file.read_text(encoding="utf-8") == text(source):
            continue
        stale += 1
        if "--check" in arguments:
            print(f"differs: {file.name}")
        else:
            file.write_text(text(source), encoding="utf-8")
    print(f"{stale} definitions {'differ' if '--check' in arguments else 'written'}")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
