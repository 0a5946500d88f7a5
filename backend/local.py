"""``tuile run``: the graph a client would send, computed here without a server."""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from backend.errors import OpenEOError


@click.command("run")
@click.argument("graph", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--archive", type=click.Path(exists=True, file_okay=False, path_type=Path), multiple=True,
              help="Folder of products; several may be given. Default: TUILE_ARCHIVE.")  # fmt: skip
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder for the results.")
@click.option(
    "--param", "params", multiple=True, metavar="K=V", help="Value of a parameter of the process (JSON or text)."
)
@click.option("--index", type=click.Path(file_okay=False, path_type=Path),
              help="Where the archive's index is kept between runs. Default: a folder per archive in ~/.cache/tuile.")  # fmt: skip
@click.option("--quiet", is_flag=True, help="No progress bar, only the names of the files.")
def run_command(
    graph: Path, archive: tuple[Path, ...], out: Path, params: tuple[str, ...], index: Path | None, quiet: bool
) -> None:
    """Compute the process graph in GRAPH (JSON) and write its results into --out."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    from backend.graph.run import execute
    from backend.settings import Settings
    from processes import heap

    heap.prepare()
    console = Console(stderr=True, quiet=quiet)
    settings = Settings()
    archives = [p.resolve() for p in archive or settings.archives]
    if not archives:
        raise click.UsageError("No archive: give --archive or set TUILE_ARCHIVE.")
    process = _process(graph)
    parameters = dict(_parameter(p) for p in params)
    settings = settings.model_copy(update={"archive": archives, "data_dir": index or _cache(archives)})
    out.mkdir(parents=True, exist_ok=True)
    try:
        env = local_env(settings, console)
        with Progress(
            TextColumn("computing"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn(), console=console
        ) as bar:
            task = bar.add_task("", total=1.0)
            assets = execute(process, env, out, parameters=parameters, max_nodes=settings.max_nodes,
                             scheduler=settings.dask_scheduler, on_progress=lambda share: bar.update(task, completed=share))  # fmt: skip
    except OpenEOError as error:
        click.echo(f"{error.code}: {error.message}", err=True)
        for problem in error.data if isinstance(error.data, list) else ():
            click.echo(f"  {problem['code']} at {'/'.join(problem['path']) or '-'}: {problem['message']}", err=True)
        sys.exit(1)
    for asset in assets:
        click.echo(str(asset.path))


def local_env(settings: Any, console: Any) -> Any:
    """An `Env` over the archives of ``settings``: indexed first (only what changed), stages run in this process."""
    from backend.catalogue import open_catalogue
    from processes.env import Env, Limits
    from processes.load import kept

    kept.allow_share(settings.memory_limit)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    catalogue = open_catalogue(settings)
    with console.status("indexing the archive"):
        report = catalogue.ingest(settings.archives)
    for rejected in report.rejected:
        console.print(f"[yellow]left out[/] {rejected.path}: {rejected.reason}", highlight=False)
    limits = Limits(settings.memory_limit, settings.threads, settings.skip_unreadable)
    settings.workspace_dir.mkdir(parents=True, exist_ok=True)

    def log(level: str, message: str, *, code: str | None = None, data: Any = None, path: Any = ()) -> None:
        if level in ("error", "warning", "info"):
            console.print(f"{level}: {'/'.join(path) + ': ' if path else ''}{message}", highlight=False, markup=False)

    return replace(Env(), catalogue=catalogue, limits=limits, workspace=settings.workspace_dir, sink=log,
                   fetch_allow=tuple(settings.fetch_allow))  # fmt: skip


def _process(path: Path) -> dict[str, Any]:
    try:
        raw = json.loads(path.read_text())
    except ValueError as error:
        raise click.UsageError(f"{path} is not JSON: {error}") from None
    if not isinstance(raw, dict):
        raise click.UsageError(f"{path} must hold a JSON object: a process graph or a process with 'process_graph'.")
    if "process" in raw and "process_graph" in (raw["process"] or {}):
        return raw["process"]  # a job as GET /jobs/{id} returns it
    return raw if "process_graph" in raw else {"process_graph": raw}


def _parameter(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise click.UsageError(f"--param {text}: write it as name=value.")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _cache(archives: list[Path]) -> Path:
    key = hashlib.sha256("\n".join(map(str, archives)).encode()).hexdigest()[:16]
    return Path.home() / ".cache" / "tuile" / key
