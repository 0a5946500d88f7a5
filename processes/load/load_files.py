"""`load_uploaded_files`, `load_url`: files of the user's own storage, or of the web, as a cube."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from processes.env import Env
from processes.errors import parameter_invalid
from processes.load.fetch import Fetcher, shown
from processes.load.formats import SUFFIXES, format_named, open_files
from processes.registry import process


@process()
def load_uploaded_files(
    paths: Sequence[str], format: str, options: Mapping[str, Any] | None = None, *, env: Env | None = None
) -> xr.DataArray:
    """A cube of the user's own files. Raises ``FileNotFound``, ``FormatUnsuitable``, ``ProcessParameterInvalid``."""
    env = env or Env()
    names = [paths] if isinstance(paths, str) else list(paths)
    if not names:
        raise parameter_invalid("paths", "name at least one file")
    return open_files([(n, env.files.path(n)) for n in names], format, options, env)


@process(pure=False)
def load_url(
    url: str, format: str, options: Mapping[str, Any] | None = None, *, env: Env | None = None
) -> xr.DataArray:
    """A cube of a file on the web, fetched whole (up to 4 GiB) from hosts that may be reached.

    Raises ``AccessDenied`` (a private network), ``NoDataAvailable`` (not there), ``FormatUnsuitable``.
    """
    env = env or Env()
    known = format_named(format)
    folder = (env.workspace or Path(tempfile.gettempdir())) / "fetched"
    name = hashlib.sha256(f"{env.job or ''} {url}".encode()).hexdigest()[:32]
    target = folder / f"{name}{SUFFIXES[known]}"
    with Fetcher(env.fetch_allow) as fetcher:
        fetcher.download(url, target)
    return open_files([(shown(url), target)], known, options, env)
