"""`tuile demo --serve` ends its server, however it is told to end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

# the command with an empty archive and without the job
SCRIPT = """
import sys
from pathlib import Path
import backend.demo.main_job as demo
demo.make_archive = lambda archive, console: archive.mkdir(parents=True)
demo.run_job = lambda *_: None
demo.draw = lambda tif, picture: picture
demo.demo_command(["--serve", "--dir", sys.argv[1]])
"""


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_the_server_ends_with_the_demo(tmp_path: Path, told: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", SCRIPT, str(tmp_path / "demo")], stdout=subprocess.PIPE, text=True,
        env={k: v for k, v in os.environ.items() if not k.startswith("TUILE_")},
    )  # fmt: skip
    assert process.stdout is not None
    try:
        url = next(m[0] for line in process.stdout if (m := re.search(r"http://127.0.0.1:\d+", line)))
        while "stays up" not in process.stdout.readline():
            assert process.poll() is None
        assert requests.get(f"{url}/openeo/1.2/", timeout=10).ok
        process.send_signal(told)
        process.wait(30)
        time.sleep(0.2)
        with pytest.raises(requests.ConnectionError):
            requests.get(f"{url}/openeo/1.2/", timeout=10)
    finally:
        process.kill()
