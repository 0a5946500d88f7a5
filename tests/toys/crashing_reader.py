"""A reader of `processes.load.guard` that dies, is killed or hangs where a file's name says so."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any

from processes.load import guard_child

_read = guard_child.ANSWERS["read"]


def read(stamp: int, href: str, **arguments: Any) -> Any:
    """As the file's name says, while it lies there with one byte at the end."""
    with open(href.split("://")[0].removeprefix("HDF5:"), "rb") as file:  # noqa: PTH123
        damaged = file.read()[-1:] == b"!"
    if damaged and "crash" in href:
        os.kill(os.getpid(), signal.SIGSEGV)
    if damaged and "kill" in href:
        os.kill(os.getpid(), signal.SIGKILL)
    if damaged and "hang" in href:
        time.sleep(60)
    return _read(stamp, href, **arguments)


if __name__ == "__main__":
    guard_child.ANSWERS["read"] = read
    guard_child.main(int(sys.argv[1]))
