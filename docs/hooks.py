"""Pages that are made when the docs are built: settings and processes from the code, tutorials by running them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import notebook
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files


def on_files(files: Files, config: Any) -> Files:
    """Add the generated pages to the site."""
    for path, text in (("reference/settings.md", settings_page()), ("reference/processes.md", processes_page())):
        files.append(File.generated(config, path, content=text))
    used: set[Path] = set()
    scripts = sorted((Path(__file__).parent / "tutorials").glob("*.py"))
    try:
        with ThreadPoolExecutor() as pool:
            built = list(pool.map(notebook.build, scripts))
    except notebook.ScriptFailed as error:
        raise PluginError(str(error)) from None
    for made, folders in built:
        used |= folders
        for file in sorted(made.iterdir()):
            files.append(File.generated(config, f"tutorials/{file.name}", abs_src_path=str(file)))
    notebook.forget_others(used)
    return files


def settings_page() -> str:
    """Every ``TUILE_*`` variable with its default and meaning, from `backend.settings`."""
    from pydantic_core import PydanticUndefined

    from backend.settings import Settings

    rows = []
    for name, field in Settings.model_fields.items():
        default = field.default
        if default is PydanticUndefined or default is None:
            default = (
                ""
                if field.default_factory is None
                else "from the machine"
                if name in ("threads", "memory_limit")
                else "none"
            )
        rows.append(f"| `TUILE_{name.upper()}` | {default} | {field.description} |")
    return "\n".join([
        "# Settings", "", "Environment variables, or lines of a `.env` file in the working directory. `tuile doctor --settings` shows the",
        "values in force.", "", "| variable | default | meaning |", "|---|---|---|", *rows, "",
    ])  # fmt: skip


def processes_page() -> str:
    """Every process by category, with its summary and parameters, from the registry."""
    from processes import registry

    by_category: dict[str, list[Any]] = {}
    for process in sorted(registry.processes().values(), key=lambda p: p.id):
        category = (process.spec.get("categories") or ["other"])[0]
        by_category.setdefault(category, []).append(process)
    lines = [
        "# Processes",
        "",
        f"{len(registry.processes())} processes. `GET /processes` serves the full definitions.",
        "",
    ]
    for category, found in sorted(by_category.items()):
        lines += [f"## {category.capitalize()}", "", "| process | what it does |", "|---|---|"]
        for process in found:
            names = ", ".join(p["name"] for p in process.spec["parameters"])
            summary = " ".join(str(process.spec.get("summary", "")).split()).replace("|", "\\|")
            lines.append(f"| `{process.id}({names})` | {summary} |")
        lines.append("")
    return "\n".join(lines)
