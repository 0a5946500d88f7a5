"""Rasters on the web come through the guarded session: what is read, and what is refused at any later moment."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pystac
import pytest
import rasterio
from rasterio.windows import Window

from processes.errors import ProcessError
from processes.load import read, remote
from processes.load.fetch import Fetcher
from processes.load.items import Band, grid_of_file, open_raster
from tests.unit.processes.load_stac.server import Responder, raster

VALUES = np.random.default_rng(0).integers(0, 10_000, (2, 2048, 2048)).astype("u2")


class Server:
    """Files of a folder with ranges; counts the bytes it hands out; ``mode`` makes it misbehave."""

    def __init__(self, folder: Path):
        self.folder, self.sent, self.requests, self.mode, self.stamp = folder, 0, 0, "", "1"
        outer = self

        class Handler(Responder):
            def do_GET(self) -> None:
                outer.requests += 1
                path = urlsplit(self.path).path.lstrip("/")
                held = (outer.folder / path).read_bytes()
                if outer.mode == "elsewhere":
                    self.respond(302, b"", {"Location": "http://192.168.7.7/secret.tif"})
                    return
                if outer.mode == "whole":
                    self.respond(200, held[:1000], {})
                    return
                first, _, last = self.headers["Range"][6:].partition("-")
                start, stop = int(first), min(int(last), len(held) - 1)
                outer.sent += stop + 1 - start
                span = {"Content-Range": f"bytes {start}-{stop}/{len(held)}", "ETag": outer.stamp}
                self.respond(206, held[start : stop + 1], span)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.entry = f"127.0.0.1:{self.server.server_port}"

    def url(self, path: str) -> str:
        return f"http://{self.entry}/{path}"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    raster(tmp_path / "plain.tif", VALUES)
    with rasterio.open(tmp_path / "plain.tif") as source:
        profile = source.profile | {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate"}
        with rasterio.open(tmp_path / "a.tif", "w", **profile) as out:
            out.write(VALUES)
    served = Server(tmp_path)
    yield served
    served.server.shutdown()
    served.server.server_close()


def test_pixels_are_those_of_the_file(server: Server) -> None:
    href = remote.marked(server.url("a.tif?signature=x"), [server.entry])
    with open_raster(href) as source:
        np.testing.assert_array_equal(source.read(), VALUES)
        assert source.crs.to_epsg() == 32631
    assert grid_of_file(href).shape == (2048, 2048)


def test_little_is_read_of_a_large_file(server: Server) -> None:
    """A window of one tile costs the directory and that tile, not the file of 13 MB."""
    href = remote.marked(server.url("a.tif"), [server.entry])
    with open_raster(href) as source:
        got = source.read(2, window=Window(1300, 700, 100, 60))
    np.testing.assert_array_equal(got, VALUES[1, 700:760, 1300:1400])
    assert server.sent < 600_000 < (server.folder / "a.tif").stat().st_size / 10
    assert server.requests < 8


def test_many_threads(server: Server) -> None:
    href = remote.marked(server.url("a.tif"), [server.entry])
    band = Band("B", href, grid_of_file(href), index=1, dtype="uint16")
    failed: list[Any] = []

    def work(k: int) -> None:
        for j in range(4):
            window = Window(100 * k, 150 * j, 300, 200)
            try:
                got = read.read_window(band, window)
                np.testing.assert_array_equal(got, VALUES[0][window.toslices()])
            except BaseException as error:
                failed.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failed


def test_hosts_in_private_networks_are_refused_when_pixels_are_read(server: Server) -> None:
    """Without the mark of an allowed host no address of the own network is connected to."""
    with pytest.raises(ProcessError, match="AccessDenied"):
        open_raster(server.url("a.tif"))
    with pytest.raises(ProcessError, match="AccessDenied"):
        open_raster(remote.marked(server.url("a.tif"), ["10.0.0.0/8"]))
    assert server.requests == 0


def test_a_name_that_changes_its_address_is_refused(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: public when the graph is built, private when a block is read."""
    answers = ["93.184.216.34"]
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, port, **_: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answers[0], port))]
    )
    href = remote.marked(f"http://tiles.example.org:{server.server.server_port}/a.tif", [server.entry])
    assert "#" not in href
    answers[0] = "127.0.0.1"
    with pytest.raises(ProcessError, match="AccessDenied"):
        open_raster(href)
    assert server.requests == 0


def test_a_file_that_moves_into_a_private_network_is_refused(server: Server) -> None:
    href = remote.marked(server.url("a.tif"), [server.entry])
    source = open_raster(href)
    server.mode = "elsewhere"
    with pytest.raises(ProcessError, match="AccessDenied"):
        open_raster(href)
    with pytest.raises(rasterio.errors.RasterioIOError):
        source.read(1, window=Window(0, 1500, 10, 10))


def test_marks_of_users_count_nothing(server: Server) -> None:
    """What an item's own address says behind # is cut off, so that nobody can allow a host to himself."""
    forged = f"{server.url('a.tif')}#allow=127.0.0.0%2F8"
    with pytest.raises(ProcessError, match="AccessDenied"), Fetcher() as fetcher:
        fetcher.resolved(forged)
    assert (
        remote.marked("https://93.184.216.34/a.tif#allow=127.0.0.0%2F8", ["10.0.0.0/8"])
        == "https://93.184.216.34/a.tif"
    )


def test_catalogued_items_on_allowed_hosts(server: Server) -> None:
    """An archive may name files on hosts of the own network, which the operator allows."""
    item = pystac.Item("i", None, None, datetime(2024, 1, 1, tzinfo=UTC), {})
    item.add_asset("a", pystac.Asset(server.url("a.tif")))
    item.add_asset("local", pystac.Asset("/data/b.tif"))
    remote.mark_assets([item], [server.entry])
    remote.mark_assets([item], [server.entry])  # a catalogue may hand out the same items again
    with open_raster(item.assets["a"].href) as source:
        assert source.count == 2
    assert item.assets["local"].href == "/data/b.tif"
    remote.mark_assets([item], ["10.0.0.0/8"])
    with pytest.raises(ProcessError, match="AccessDenied"):
        open_raster(item.assets["a"].href)


@pytest.mark.parametrize(
    ("mode", "file", "reason"),
    [("whole", "a.tif", "parts of a file"), ("", "text.tif", "no GeoTIFF"), ("", "broken.tif", "")],
)
def test_what_cannot_be_read_is_told(server: Server, mode: str, file: str, reason: str) -> None:
    (server.folder / "text.tif").write_text("<VRTDataset/>" * 20)
    (server.folder / "broken.tif").write_bytes(b"II*\0" + bytes(range(200)))
    server.mode = mode
    with pytest.raises((ProcessError, rasterio.errors.RasterioError), match=reason):
        open_raster(remote.marked(server.url(file), [server.entry]))


def test_a_file_that_changes_while_it_is_read(server: Server) -> None:
    source = open_raster(remote.marked(server.url("a.tif"), [server.entry]))
    server.stamp = "2"
    with pytest.raises(rasterio.errors.RasterioIOError):
        source.read(2)
