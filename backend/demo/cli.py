"""``tuile demo-archive DIR``: write a synthetic archive."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from backend.demo.archive import FAMILIES, Plan, generate

_DEFAULT = Plan()


BENCHMARK: dict[str, object] = {
    "size": 10980,
    "tiles": "31TGK",
    "bands": "B02,B03,B04,B08",
    "sre": False,
    "truth": False,
}
"""What --benchmark means where an option is not given: one whole tile, four bands, 12 dates."""


def _names(value: str) -> tuple[str, ...]:
    return tuple(v.strip() for v in value.split(",") if v.strip())


@click.command("demo-archive")
@click.argument("directory", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--size",
    default=_DEFAULT.size,
    show_default=True,
    help="Side of a tile window in 10 m pixels, a multiple of 6; 10980 is a whole tile.",
)
@click.option("--dates", default=_DEFAULT.dates, show_default=True, help="Number of acquisitions.")
@click.option(
    "--start",
    type=click.DateTime(["%Y-%m-%d"]),
    default=_DEFAULT.start.isoformat(),
    show_default=True,
    help="First day of the season.",
)
@click.option("--days", default=_DEFAULT.days, show_default=True, help="Length of the season in days.")
@click.option("--seed", default=_DEFAULT.seed, show_default=True, help="Which world: same seed, same bytes.")
@click.option("--tiles", default=",".join(_DEFAULT.tiles), show_default=True, help="Neighbouring MGRS tiles.")
@click.option(
    "--overlap",
    type=click.FloatRange(0, 0.95),
    default=_DEFAULT.overlap,
    show_default=True,
    help="Share of a small window that the next one also covers.",
)
@click.option(
    "--orbits",
    default=",".join(map(str, _DEFAULT.orbits)),
    show_default=True,
    help="Relative orbits; the last one's swath ends inside the scene.",
)
@click.option(
    "--families",
    default=",".join(_DEFAULT.families),
    show_default=True,
    help=f"Product families among {', '.join(FAMILIES)}.",
)
@click.option(
    "--distribution",
    type=click.Choice(["C", "D"]),
    default=_DEFAULT.distribution,
    show_default=True,
    help="MUSCATE mask bits: C as MAJA writes them, D as Theia distributes them.",
)
@click.option("--bands", default=",".join(_DEFAULT.bands), show_default=True, help="MUSCATE bands.")
@click.option(
    "--sre/--no-sre", default=_DEFAULT.sre, show_default=True, help="Reflectance without slope correction too."
)
@click.option(
    "--directional/--lambertian",
    default=_DEFAULT.directional,
    show_default=True,
    help="Whether land looks different from different directions.",
)
@click.option("--truth/--no-truth", default=_DEFAULT.truth, show_default=True, help="Truth layers under DIR/truth.")
@click.option(
    "--cog/--strips",
    default=_DEFAULT.cog,
    show_default=True,
    help="Tiled GeoTIFF with overviews, or strips as in the producer's files.",
)
@click.option(
    "--compression", type=click.Choice(["deflate", "zstd", "none"]), default=_DEFAULT.compression, show_default=True
)
@click.option("--benchmark", is_flag=True, help="One whole tile, four bands, no truth, no SRE: for speed measurements.")
@click.option("--workers", type=click.IntRange(1), default=None, help="Processes; default one per core.")
@click.pass_context
def demo_archive(ctx: click.Context, directory: Path, benchmark: bool, workers: int | None, **chosen: Any) -> None:
    """Write a synthetic satellite archive with its truth into DIR.

    Terrain, fields through their seasons, rivers, snow, clouds with their shadows and haze, as Sentinel-2 and Landsat
    products in their true layouts.
    """
    started = time.monotonic()
    if benchmark:
        given = click.core.ParameterSource.DEFAULT
        chosen |= {k: v for k, v in BENCHMARK.items() if ctx.get_parameter_source(k) == given}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        job = bar.add_task("starting", total=None)

        def show(name: str, done: int, whole: int) -> None:
            bar.update(job, description=name, completed=done, total=whole)

        try:
            made = generate(directory, workers=workers, progress=show, **_options(chosen))
        except ValueError as error:
            raise click.ClickException(str(error)) from None
        except OSError as error:
            raise click.ClickException(f"cannot write {directory}: {error}") from None
    size = sum(p.stat().st_size for p in directory.rglob("*") if p.is_file())
    took = time.monotonic() - started
    click.echo(f"{len(made.products)} products in {directory}: {size / 1e6:.0f} MB in {took:.0f} s")


def _options(chosen: dict[str, Any]) -> dict[str, Any]:
    """Command-line values as `Plan` has them. Raises ValueError."""
    lists = {k: _names(chosen[k]) for k in ("tiles", "families", "bands")}
    orbits = _names(chosen["orbits"])
    if not all(o.isdigit() and 1 <= int(o) <= 143 for o in orbits):
        raise ValueError(f"orbits must be numbers from 1 to 143, such as 8,108: got {chosen['orbits']}")
    return chosen | lists | {"orbits": tuple(int(o) for o in orbits), "start": chosen["start"].date()}
