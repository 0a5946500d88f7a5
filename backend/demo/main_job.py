"""``tuile demo``: the whole of Tuile on this machine, with a real openEO client.

Generates an archive (once), starts the server on the embedded default, logs in with the openEO Python client, runs a
cloud-free NDVI composite of a season as a batch job, downloads it and draws it.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np

USER = "demo"
COLLECTION = "SENTINEL2_L2A_MAJA"


@click.command("demo")
@click.option(
    "--dir", "folder", type=click.Path(file_okay=False, path_type=Path), default=Path("demo"), show_default=True
)
@click.option("--serve", is_flag=True, help="Keep the server running after the job.")
@click.option("--port", type=int, default=0, help="Port of the server; 0 takes a free one.")
def demo_command(folder: Path, serve: bool, port: int) -> None:
    """Generate an archive, serve it, and run a real client job on it."""
    from rich.console import Console

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the server below must not outlive this process
    console = Console(highlight=False, soft_wrap=True)
    start = time.monotonic()
    folder = folder.resolve()
    archive, data = folder / "archive", folder / "data"
    make_archive(archive, console)
    password = make_user(data, archive)
    index_archive(data, archive, console)
    with server(archive, data, port) as url:
        console.print(f"Server: [bold]{url}[/]  (user [bold]{USER}[/], password [bold]{password}[/])")
        tif = folder / "ndvi.tif"
        run_job(url, password, tif, console)
        picture = draw(tif, folder / "ndvi.png")
        console.print(f"Composite: {tif}\nPicture:   [bold]{picture}[/]\nServer:    [bold]{url}[/]")
        console.print(f"Done in {time.monotonic() - start:.0f} s.")
        if serve:
            console.print(
                "The server stays up; stop it with Ctrl-C. In the openEO Web Editor, connect to it with the user above."
            )
            wait_for_interrupt()
    if not serve:
        console.print("The server has been stopped; `make demo SERVE=1` keeps it up.")


def make_archive(archive: Path, console: Any) -> None:
    """Generate the demo archive unless it is there already, whole."""
    from backend.demo.archive import generate

    marker = archive / ".complete"
    if marker.is_file():
        console.print(f"Archive:   {archive} (kept from the last time)")
        return
    console.print(f"Generating an archive of synthetic Sentinel-2 products in {archive} ...")
    generate(archive)
    marker.touch()


def make_user(data: Path, archive: Path) -> str:
    """The demo's user, with a fresh password, in the demo's own database."""
    from backend.auth.passwords import hash_password
    from backend.store import users
    from backend.store.db import Database

    data.mkdir(parents=True, exist_ok=True)
    database = Database(demo_settings(archive, data).database)
    database.upgrade()
    password = secrets.token_urlsafe(9)
    hashed = hash_password(password)
    with database.session() as session:
        known = users.by_name(session, USER)
        if known is None:
            users.create(session, USER, hashed)
        else:
            known.password_hash = hashed
    database.close()
    return password


def index_archive(data: Path, archive: Path, console: Any) -> None:
    """What ``tuile ingest`` does, on the demo's archive."""
    from backend.catalogue import open_catalogue

    with console.status("indexing the archive"):
        report = open_catalogue(demo_settings(archive, data)).ingest([archive])
    console.print(f"Index:     {report}")


def demo_settings(archive: Path, data: Path) -> Any:
    from backend.settings import Settings

    return Settings(archive=archive, data_dir=data)  # type: ignore[call-arg]


@contextmanager
def server(archive: Path, data: Path, port: int = 0) -> Iterator[str]:
    """``tuile serve`` as a process of its own; yields its URL when it answers."""
    import requests

    port = port or free_port()
    url = f"http://127.0.0.1:{port}"
    env = {
        **os.environ,
        "TUILE_ARCHIVE": str(archive),
        "TUILE_DATA_DIR": str(data),
        "TUILE_HOST": "127.0.0.1",
        "TUILE_PORT": str(port),
    }
    log = data / "server.log"
    with log.open("ab") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "backend.cli", "serve"], env=env, stdout=sink, stderr=sink, start_new_session=True
        )
    try:
        deadline = time.monotonic() + 90
        while True:
            if process.poll() is not None:
                raise click.ClickException(f"The server stopped at once; its log is {log}:\n{tail(log)}")
            try:
                if requests.get(f"{url}/openeo/1.2/", timeout=5).ok:
                    break
            except requests.ConnectionError:
                if time.monotonic() > deadline:
                    raise click.ClickException(
                        f"The server does not answer after 90 s; its log is {log}:\n{tail(log)}"
                    ) from None
            time.sleep(0.2)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def run_job(url: str, password: str, target: Path, console: Any) -> None:
    """The job a user would run: cloud-free NDVI, median over the season, as a COG, with live progress."""
    import openeo
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    connection = openeo.connect(url, auto_validate=False).authenticate_basic(USER, password)
    names = [c["id"] for c in connection.list_collections()]
    console.print(f"Collections: {', '.join(names)}")
    extent = connection.describe_collection(COLLECTION)["extent"]
    west, south, east, north = extent["spatial"]["bbox"][0]
    cube = connection.load_collection(
        COLLECTION, spatial_extent={"west": west, "south": south, "east": east, "north": north},
        temporal_extent=[v[:10] if i == 0 else None for i, v in enumerate(extent["temporal"]["interval"][0])],
        bands=["B04", "B08", "CLOUD", "CLOUD_SHADOW"],
    )  # fmt: skip
    unclear: Any = (cube.band("CLOUD") == 1) | (cube.band("CLOUD_SHADOW") == 1)
    ndvi = cube.filter_bands(["B04", "B08"]).mask(unclear).ndvi(nir="B08", red="B04").reduce_dimension("t", "median")
    job = ndvi.save_result("COG").create_job(title="Cloud-free NDVI of the season")
    job.start()
    with Progress(
        TextColumn("NDVI composite: {task.fields[status]:>8}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        console=console,
    ) as bar:
        task = bar.add_task("", total=100, status="queued")
        while True:
            info = job.describe()
            bar.update(task, completed=float(info.get("progress") or 0), status=info["status"])
            if info["status"] in ("finished", "error", "canceled"):
                break
            time.sleep(0.5)
    if info["status"] != "finished":
        for entry in job.logs():
            console.print(f"{entry['level']}: {entry['message']}", markup=False)
        raise click.ClickException(f"The job ended with status '{info['status']}'.")
    asset = next(a for a in job.get_results().get_assets() if "tif" in a.metadata.get("type", ""))
    asset.download(target)


def draw(tif: Path, png: Path) -> Path:
    """A picture of an NDVI raster: brown (-0.2) over yellow to green (0.9), grey where there is no value."""
    import rasterio
    from PIL import Image

    with rasterio.open(tif) as source:
        step = max(1, max(source.shape) // 1200)
        ndvi = source.read(1, out_shape=(source.height // step, source.width // step), masked=True).filled(np.nan)
    stops = np.array([-0.2, 0.0, 0.15, 0.3, 0.5, 0.7, 0.9])
    colours = np.array(
        [[60, 90, 140], [150, 125, 95], [205, 180, 130], [225, 215, 140], [150, 190, 90], [70, 145, 55], [15, 90, 30]]
    )
    image = np.stack([np.interp(ndvi, stops, colours[:, k]) for k in range(3)], axis=-1)
    image[np.isnan(ndvi)] = 200
    Image.fromarray(image.astype(np.uint8)).save(png)
    return png


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def tail(path: Path, lines: int = 15) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])


def wait_for_interrupt() -> None:
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        return
