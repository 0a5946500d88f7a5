"""``tuile doctor``: checks installation, GDAL drivers, broker, database, disk; says what to do."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Literal

import click

from backend.settings import Settings

DRIVERS = {
    "GTiff": "GeoTIFF",
    "COG": "cloud-optimised GeoTIFF",
    "JP2OpenJPEG": "JPEG 2000 (Sentinel-2 SAFE)",
    "PNG": "previews",
}


@dataclass(frozen=True)
class Finding:
    """One check: what was looked at, how it is, and what to do when it is not right."""

    level: Literal["ok", "warning", "error"]
    what: str
    detail: str
    remedy: str = ""


def findings(settings: Settings) -> Iterator[Finding]:
    """Every check, one after the other; a check that fails unexpectedly is an error finding, not an exception."""
    for check in (_python, _packages, _drivers, _definitions, _data_dir, _database, _broker, _archives, _memory):
        try:
            yield from check(settings)
        except Exception as error:  # a doctor that dies of what it should diagnose is of no use
            yield Finding(
                "error",
                check.__name__.strip("_"),
                f"{type(error).__name__}: {error}",
                "See the message; settings are listed above.",
            )


def _python(_: Settings) -> Iterator[Finding]:
    ok = sys.version_info >= (3, 11)
    yield Finding(
        "ok" if ok else "error", "Python", sys.version.split()[0], "" if ok else "Tuile needs Python 3.11 or newer."
    )


def _packages(_: Settings) -> Iterator[Finding]:
    from packaging.requirements import Requirement

    wrong = []
    for text in requires("tuile") or []:
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            continue
        if found not in requirement.specifier:
            wrong.append(f"{requirement.name} {found} is not {requirement.specifier}")
    yield Finding("error" if wrong else "ok", "packages", "; ".join(wrong) or f"tuile {version('tuile')}, all dependencies in range",
                  "Install Tuile again, in its folder: pip install ." if wrong else "")  # fmt: skip


def _drivers(_: Settings) -> Iterator[Finding]:
    import rasterio
    from rasterio.drivers import raster_driver_extensions

    with rasterio.Env() as env:
        known = env.drivers()
    missing = [f"{name} ({what})" for name, what in DRIVERS.items() if name not in known]
    yield Finding("warning" if missing else "ok", "GDAL", f"{rasterio.__gdal_version__}, {len(known)} drivers, {len(raster_driver_extensions())} extensions"
                  + (f"; missing {', '.join(missing)}" if missing else ""),
                  "Install rasterio from its wheel, or a GDAL built with these drivers." if missing else "")  # fmt: skip


def _definitions(_: Settings) -> Iterator[Finding]:
    from processes import registry

    start = time.perf_counter()
    found = registry.processes()
    broken = [id for id, p in found.items() if not (p.spec_file or registry.SPECS / f"{id}.json").is_file()]
    yield Finding("error" if broken else "ok", "processes", f"{len(found)} in {time.perf_counter() - start:.1f} s"
                  + (f"; without definition: {', '.join(broken)}" if broken else ""),
                  "Reinstall Tuile: files of the package are missing." if broken else "")  # fmt: skip


def _data_dir(settings: Settings) -> Iterator[Finding]:
    folder = settings.data_dir.resolve()
    above = next(p for p in (folder, *folder.parents) if p.exists())
    if not os.access(above, os.W_OK):
        yield Finding(
            "error",
            "data directory",
            f"{folder} cannot be written",
            f"Make {above} writable for this user, or set TUILE_DATA_DIR.",
        )
        return
    free = shutil.disk_usage(above).free
    low = free < 5 << 30
    yield Finding("warning" if low else "ok", "data directory", f"{folder}, {free / 2**30:.1f} GiB free",
                  "Results and stage products are written there: free space, or set TUILE_DATA_DIR to a larger disk." if low else "")  # fmt: skip


def _database(settings: Settings) -> Iterator[Finding]:
    import sqlalchemy

    url = sqlalchemy.make_url(settings.database)
    shown = url.render_as_string(hide_password=True)
    if url.get_backend_name() == "sqlite" and url.database and not os.path.exists(url.database):  # noqa: PTH110
        yield Finding("ok", "database", f"{shown} (made at first start)")
        return
    try:
        engine = sqlalchemy.create_engine(url)
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text("select 1"))
        engine.dispose()
    except sqlalchemy.exc.SQLAlchemyError as error:
        yield Finding(
            "error",
            "database",
            f"{shown}: {str(error.__cause__ or error).splitlines()[0]}",
            "Start the database, or correct TUILE_DATABASE_URL.",
        )
        return
    yield Finding("ok", "database", shown)


def _broker(settings: Settings) -> Iterator[Finding]:
    if settings.embedded_broker:
        yield Finding("ok", "broker", "filesystem, in the data directory (one machine; set TUILE_BROKER_URL for more)")
        return
    from kombu import Connection

    url = str(settings.broker_url)
    try:
        with Connection(url, connect_timeout=3) as connection:
            shown = connection.as_uri()
            connection.ensure_connection(max_retries=1, timeout=3)
    except Exception as error:  # kombu raises its transports' own exceptions
        yield Finding(
            "error",
            "broker",
            f"{url.rsplit('@', 1)[-1]}: {error}",
            "Start the broker (redis-server), or correct TUILE_BROKER_URL.",
        )
        return
    yield Finding("ok", "broker", shown)


def _archives(settings: Settings) -> Iterator[Finding]:
    if not settings.archives:
        yield Finding(
            "warning", "archive", "none", "Set TUILE_ARCHIVE to the folder of your products, then run: tuile ingest"
        )
    for folder in settings.archives:
        if not folder.is_dir():
            yield Finding("error", "archive", f"{folder} is not a folder", "Correct TUILE_ARCHIVE, or mount the disk.")
        elif not os.access(folder, os.R_OK | os.X_OK):
            yield Finding("error", "archive", f"{folder} cannot be read", "Give this user read access.")
        else:
            yield Finding("ok", "archive", f"{folder}, {sum(1 for _ in folder.iterdir())} entries")


def _memory(settings: Settings) -> Iterator[Finding]:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    wanted = settings.memory_limit * (settings.sync_slots + 1)
    high = wanted > total
    yield Finding("warning" if high else "ok", "memory", f"{settings.memory_limit / 2**30:.1f} GiB per request, {settings.sync_slots} synchronous slots and a job, {total / 2**30:.1f} GiB in all",
                  "Together they may use more than there is: lower TUILE_MEMORY_LIMIT or TUILE_SYNC_SLOTS." if high else "")  # fmt: skip


@click.command("doctor")
@click.option(
    "--warm", "compile_kernels", is_flag=True, help="Also compile the kernels, so that the first request is fast."
)
@click.option("--settings", "show", is_flag=True, help="Also list every setting with its value and meaning.")
def doctor_command(compile_kernels: bool, show: bool) -> None:
    """Check the installation and say what to do. Exits with 1 where something must be mended."""
    from rich.console import Console

    console, settings = Console(), Settings()
    if show:
        for name, field in Settings.model_fields.items():
            console.print(
                f"[bold]TUILE_{name.upper()}[/] = {getattr(settings, name)!s}\n    {field.description}", highlight=False
            )
    colours = {"ok": "green", "warning": "yellow", "error": "red"}
    worst = 0
    for finding in findings(settings):
        console.print(
            f"[{colours[finding.level]}]{finding.level:>7}[/]  [bold]{finding.what}[/]: {finding.detail}",
            highlight=False,
            soft_wrap=True,
        )
        if finding.remedy:
            console.print(f"         -> {finding.remedy}", highlight=False, soft_wrap=True)
        worst = max(worst, finding.level == "error")
    if compile_kernels:
        from backend.warm import warm

        warm(lambda text: console.print(text, highlight=False))
    sys.exit(int(worst))
