"""``tuile ingest`` and ``tuile catalogue ...``."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from processes.errors import ProcessError

if TYPE_CHECKING:
    from rich.console import Console

    from backend.catalogue.index import Catalogue
    from backend.catalogue.ingest import Report


def _open() -> Catalogue:
    from backend.catalogue import open_catalogue
    from backend.settings import Settings

    return open_catalogue(Settings())


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--workers", type=click.IntRange(1), help="Products read at once; default one per core.")
@click.option("--force", is_flag=True, help="Read every product again, also unchanged ones.")
@click.option(
    "--to-cog", is_flag=True, help="Convert JPEG 2000 and striped rasters into COGs beside the products, once."
)
@click.option("--watch", is_flag=True, help="Stay and take in what arrives, changes or goes.")
@click.option(
    "--interval",
    type=click.FloatRange(0.1),
    default=30.0,
    show_default=True,
    help="Seconds between two looks with --watch.",
)
@click.option("--strict", is_flag=True, help="Exit with status 1 when a product was rejected.")
def ingest(
    paths: tuple[Path, ...], workers: int | None, force: bool, to_cog: bool, watch: bool, interval: float, strict: bool
) -> None:
    """Take the products under PATHS into the catalogue (default: TUILE_ARCHIVE).

    Only what is new or changed is read; what is gone is forgotten. Rejected products are named with the reason. A folder
    with a file .tuileignore is passed over.
    """
    from rich.console import Console

    from backend.settings import Settings

    settings = Settings()
    roots = list(paths) or settings.archives
    cogs = settings.data_dir / "cogs" if to_cog else None
    if not roots:
        raise click.UsageError("Name the folders to take in, or set TUILE_ARCHIVE.")
    if watch and to_cog:
        raise click.UsageError("--to-cog is a one-off: run it without --watch.")
    console = Console(stderr=True)
    with _open() as catalogue:
        if watch:
            from backend.catalogue.watch import watch as keep_watching

            keep_watching(
                catalogue,
                roots,
                interval=interval,
                workers=workers,
                on_report=lambda r: _tell(console, catalogue, r, quiet=True),
            )
            return
        report = _with_bar(console, catalogue, roots, workers, force, cogs)
        _tell(console, catalogue, report)
    if strict and report.rejected:
        sys.exit(1)


def _with_bar(
    console: Console, catalogue: Catalogue, roots: list[Path], workers: int | None, force: bool, cogs: Path | None
) -> Report:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("[dim]{task.fields[name]}"),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("Looking for products", total=None, name="")

        def show(done: int, total: int, path: str) -> None:
            bar.update(task, description="Reading products", completed=done, total=total, name=Path(path).name)

        return catalogue.ingest(roots, workers=workers, force=force, isolate=True, to_cog=cogs, on_progress=show)


def _tell(console: Console, catalogue: Catalogue, report: Report, *, quiet: bool = False) -> None:
    from rich.markup import escape

    for rejected in report.rejected:
        console.print(
            f"[yellow]rejected[/] {escape(str(rejected.path))}: {escape(rejected.reason)}",
            soft_wrap=True,
            highlight=False,
        )
    if quiet and not (report.added or report.changed or report.removed or report.rejected):
        return
    console.print(f"{report}; the catalogue has {catalogue.count()} items", soft_wrap=True, highlight=False)


@click.group()
def catalogue() -> None:
    """Look at the catalogue and export it."""


@catalogue.command("list")
def list_collections() -> None:
    """Collections with their number of items and their extent."""
    with _open() as opened:
        for document in opened.collections():
            first, last = document["extent"]["temporal"]["interval"][0]
            click.echo(
                f"{document['id']:24} {opened.count(document['id']):8}  {first[:10]} .. {last[:10]}  {document['title']}"
            )


class _Where(click.ParamType):
    """``eo:cloud_cover<=20``: a property, an operator, a value."""

    name = "condition"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str, Any]:
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(r"\s*([\w:]+?)\s*(<=|>=|!=|=|<|>)\s*(.+?)\s*", value)
        if found is None:
            self.fail(f"'{value}' is no condition such as eo:cloud_cover<=20", param, ctx)
        name, op, text = found.groups()
        return name, op, float(text) if re.fullmatch(r"[-+]?\d+(\.\d*)?", text) else text


_where = click.option(
    "--where",
    type=_Where(),
    multiple=True,
    help="Condition on a property, e.g. 'eo:cloud_cover<=20', 'view:off_nadir<5', 'platform=sentinel-2a'; may be repeated.",
)


@catalogue.command("dates")
@click.argument("collection")
@click.option("--bbox", type=float, nargs=4, help="west south east north (EPSG:4326)")
@click.option("--start", help="first instant")
@click.option("--end", help="end, excluded")
@_where
def dates(
    collection: str, bbox: tuple[float, float, float, float] | None, start: str | None, end: str | None,
    where: tuple[tuple[str, str, Any], ...],
) -> None:  # fmt: skip
    """Instants at which a place was observed."""
    with _open() as opened:
        try:
            for instant in opened.dates(collection, bbox, (start, end), where):
                click.echo(instant)
        except ProcessError as error:
            raise click.ClickException(error.message) from None


@catalogue.command("export")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--check",
    type=click.IntRange(0),
    default=100,
    show_default=True,
    help="Items per collection checked against the STAC schemas; 0: none.",
)
def export_static(folder: Path, check: int) -> None:
    """Write the catalogue as a static STAC into FOLDER.

    Documents are checked against the core STAC schemas that come with pystac; extension schemas are on the network and
    are left to stac-validator.
    """
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn

    from backend.catalogue.export import export

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.completed} items"), TextColumn("[dim]{task.description}"))
    with _open() as opened, Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("")
        done = export(
            opened, folder, check=check, on_progress=lambda n, id: bar.update(task, completed=n, description=id)
        )
    for problem in done.problems:
        console.print(f"[red]invalid[/] {problem}", soft_wrap=True, highlight=False)
    console.print(f"{done.items} items in {done.collections} collections written to {folder}", highlight=False)
    if done.problems:
        sys.exit(1)


@catalogue.command("pairs")
@click.argument("a")
@click.argument("b")
@click.option("--bbox", type=float, nargs=4, help="west south east north (EPSG:4326)")
@click.option("--start", help="first instant")
@click.option("--end", help="end, excluded")
@click.option("--max-hours", type=float, default=24.0, show_default=True, help="Hours between the two passes at most.")
@_where
def pairs(
    a: str, b: str, bbox: tuple[float, float, float, float] | None, start: str | None, end: str | None, max_hours: float,
    where: tuple[tuple[str, str, Any], ...],
) -> None:  # fmt: skip
    """Passes of two collections over one place that are close in time."""
    with _open() as opened:
        try:
            for pair in opened.pairs(a, b, bbox, (start, end), max_hours, where):
                click.echo(f"{pair.a}  {pair.b}  {pair.hours:+.2f} h")
        except ProcessError as error:
            raise click.ClickException(error.message) from None
