"""Result files: which formats there are, and writing everything a request saves in one pass.

`write` pulls the cubes of all saved results through `processes.blocks.pull` at once, so what they share is computed
once, and streams blocks into the files. Work happens in a hidden folder inside the target; files appear in it when all
are complete, or not at all.
"""

from __future__ import annotations

import errno
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend.errors import OpenEOError
from backend.results.asset import Asset

if TYPE_CHECKING:
    import numpy as np

    from backend.results.format import Output
    from processes.save.save_result import SaveResult

__all__ = ["formats", "write", "write_groups"]

# No space, quota, file-size limit: the disk's doing, not the graph's.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def formats() -> dict[str, Any]:
    """Body of ``GET /file_formats``."""
    from backend.results.format import all_formats
    from processes.load.formats import input_formats

    found = all_formats()
    return {"input": input_formats(), "output": {name: found[name].to_json() for name in sorted(found)}}


def write(saves: Sequence[SaveResult], out: Path, **options: Any) -> list[Asset]:
    """`write_groups`, as one list: one `Asset` per file, in the order of ``saves``, then of time."""
    return [asset for group in write_groups(saves, out, **options) for asset in group]


def write_groups(
    saves: Sequence[SaveResult],
    out: Path,
    *,
    threads: int = 2,
    scheduler: str = "threads",
    memory_limit: int = 4 << 30,
    on_progress: Callable[[float], None] | None = None,
) -> list[list[Asset]]:
    """Write results into ``out``.

    Parameters
    ----------
    saves
        What to write, in the order the files are listed.
    out
        Existing folder.
    threads, scheduler
        Of the block engine (`processes.blocks.pull`).
    memory_limit
        Bytes; formats that must hold a result whole refuse what does not fit.
    on_progress
        Called with the share of finished blocks, 0 to 1, never decreasing. An exception in it stops the writing and
        is raised.

    Returns
    -------
    For each of ``saves`` its files, one `Asset` each, in order of time.

    Raises
    ------
    OpenEOError
        ``FormatUnsuitable`` (unknown format or option, data the format cannot hold), ``StorageFailure`` (disk full).
        Nothing half-written stays in ``out``, whatever is raised.
    """
    from processes import blocks

    scratch = out / f".writing-{uuid.uuid4().hex}"
    outputs: list[Output] = []
    with _disk(out):
        scratch.mkdir()
        try:
            for stem, save in zip(_stems(saves), saves):
                outputs.append(_open(save, scratch, stem, memory_limit))
            pulled = [(o.cube, o.encode, o.write) for o in outputs if o.cube is not None]
            pulled += [(o.beside, _as_is, o.note) for o in outputs if o.beside is not None]
            blocks.pull(
                [cube for cube, _, _ in pulled],
                [write for _, _, write in pulled],
                encode=[encode for _, encode, _ in pulled],
                threads=threads,
                scheduler=scheduler,
                on_block=(lambda done, total: on_progress(done / total)) if on_progress else None,
            )
            groups = [o.finish() for o in outputs]
            for output in outputs:
                output.close()
            _refuse_twice(groups)
            moved = [[a.move(out) for a in group] for group in groups]
        finally:
            _close(outputs)
            shutil.rmtree(scratch, ignore_errors=True)
    if on_progress:
        on_progress(1.0)
    return moved


def _as_is(where: tuple[slice, ...], block: np.ndarray) -> Any:
    return block


def _open(save: SaveResult, scratch: Path, stem: str, memory_limit: int) -> Output:
    from backend.results.format import Target, get

    chosen = get(save.format)
    return chosen.open(save.data, chosen.options(save.options), Target(scratch, stem, memory_limit))


def _stems(saves: Sequence[SaveResult]) -> Iterator[str]:
    """How each result's file names begin: the prefix asked for, numbered where two results have the same."""
    seen: set[str] = set()
    for save in saves:
        prefix = next((str(v) for k, v in save.options.items() if k.lower() == "filename_prefix" and v), "openEO")
        stem, n = prefix, 2
        while stem in seen:
            stem, n = f"{prefix}-{n}", n + 1
        seen.add(stem)
        yield stem


def _refuse_twice(groups: Sequence[Sequence[Asset]]) -> None:
    """Names of products are not the user's choice, so two results may have the same."""
    seen: set[str] = set()
    for name in (a.name for group in groups for a in group if a.folder):
        if name in seen:
            raise OpenEOError(
                "FormatUnsuitable",
                f"Two results make the same product {name.partition('/')[0]}. Give one of them another 'tile', or save them "
                "in requests of their own.",
            )
        seen.add(name)


def _close(outputs: Sequence[Output]) -> None:
    """Close every output; files of a failed run are thrown away, so what closing them says does not matter."""
    import contextlib

    for output in outputs:
        with contextlib.suppress(Exception):
            output.close()


@contextmanager
def _disk(out: Path) -> Iterator[None]:
    """Tell a full disk as what it is."""
    try:
        yield
    except OSError as error:
        text = str(error)
        # HDF5 and GDAL put the reason into their own message
        if error.errno in _FULL or "No space left" in text or "errno = 28" in text or "errno = 27" in text:
            free = shutil.disk_usage(out).free
            raise OpenEOError(
                "StorageFailure",
                f"The results could not be written: the storage is full ({free >> 20} MiB free). Delete results you no "
                "longer need, or ask for a smaller extent, and start again.",
            ) from error
        raise
