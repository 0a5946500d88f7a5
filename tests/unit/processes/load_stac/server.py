"""A STAC server on this machine: documents by path, as static files or as an API, and files.

Files come from a process of their own, to which the documents' address redirects: GDAL opens files while it holds the
interpreter's lock, so a server in the same process could not answer.
"""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

Answer = Callable[[dict[str, str]], Any]
CRS, WEST, NORTH = 32631, 600_000.0, 4_801_000.0


class Responder(http.server.BaseHTTPRequestHandler):
    """Whole answers, quietly."""

    def respond(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


class Files(Responder):
    """Files of a folder, with ranges."""

    folder: Path

    def do_GET(self) -> None:
        file = self.folder / urlsplit(self.path).path.lstrip("/")
        if not file.is_file():
            self.respond(404, b"", {})
            return
        held, span = file.read_bytes(), self.headers.get("Range", "")
        if not span.startswith("bytes="):
            self.respond(200, held, {"Accept-Ranges": "bytes"})
            return
        first, _, last = span[6:].partition("-")
        start, stop = int(first), min(int(last or len(held) - 1), len(held) - 1)
        self.respond(206, held[start : stop + 1], {"Content-Range": f"bytes {start}-{stop}/{len(held)}"})

    do_HEAD = do_GET


class Site:
    """``site["/a.json"] = document or function of the query``; files of ``folder`` are served as they are."""

    def __init__(self, folder: Path):
        self.folder, self.answers, self.requests = folder, {}, []
        self.posted: dict[str, Answer] = {}
        folder.mkdir(parents=True, exist_ok=True)
        self.process = subprocess.Popen(
            [sys.executable, __file__, str(folder)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": ""},
        )
        assert self.process.stdout is not None
        self.files = f"127.0.0.1:{int(self.process.stdout.readline())}"
        site = self

        class Handler(Responder):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                query = {k: v[0] for k, v in parse_qs(parts.query).items()}
                site.requests.append((parts.path, query, dict(self.headers)))
                answer = site.answers.get(parts.path)
                if callable(answer):
                    answer = answer(query)
                if isinstance(answer, tuple):
                    self.respond(answer[0], b"", {"Location": answer[1]} if len(answer) > 1 else {})
                elif answer is not None:
                    self.respond(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})
                elif (site.folder / parts.path.lstrip("/")).is_file():
                    self.respond(302, b"", {"Location": f"http://{site.files}{self.path}"})
                else:
                    self.respond(404, b"", {})

            def do_POST(self) -> None:
                parts = urlsplit(self.path)
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                site.requests.append((parts.path, body, dict(self.headers)))
                answer = site.posted[parts.path](body)
                self.respond(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.base = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __setitem__(self, path: str, answer: Any) -> None:
        self.answers[path] = answer

    def url(self, path: str) -> str:
        return self.base + path

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.process.terminate()
        self.process.wait()


def raster(path: Path, values: Any, *, nodata: float | None = None, west: float = WEST, step: float = 10.0) -> None:
    """A GeoTIFF of (bands, rows, columns)."""
    import rasterio
    from affine import Affine

    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = values.shape
    with rasterio.open(
        path, "w", driver="GTiff", count=count, height=height, width=width, dtype=values.dtype, crs=CRS, nodata=nodata,
        transform=Affine(step, 0, west, 0, -step, NORTH),
    ) as out:  # fmt: skip
        out.write(values)


def item(id: str, when: str, assets: dict[str, dict[str, Any]], **properties: Any) -> dict[str, Any]:
    """A STAC item around the test area (near 4.23 E, 43.35 N)."""
    return {
        "type": "Feature", "stac_version": "1.0.0", "id": id, "bbox": [4.2, 43.3, 4.3, 43.4],
        "geometry": {"type": "Polygon", "coordinates": [[[4.2, 43.3], [4.3, 43.3], [4.3, 43.4], [4.2, 43.4], [4.2, 43.3]]]},
        "properties": {"datetime": when, **properties}, "links": [], "assets": assets,
    }  # fmt: skip


if __name__ == "__main__":
    Files.folder = Path(sys.argv[1])
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files)
    print(server.server_port, flush=True)
    server.serve_forever()
