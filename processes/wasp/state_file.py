"""A `SynthesisState` as one file: numpy arrays and a JSON header in an ``.npz`` archive.

A file that is opened may have been made by anyone: nothing in it is executed (no pickles), and nothing is unpacked before
its header has told what there must be and every array's own header agrees, so that a small file cannot fill the memory.
"""

from __future__ import annotations

import json
import struct
import zipfile
import zlib
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from processes.errors import ProcessError
from processes.wasp.composite import Options
from processes.wasp.directional import Coefficients
from processes.wasp.state import Observation, SynthesisState, empty_sums
from processes.wasp.weights import Weighting

VERSION = 2  # of the file and of what the numbers in it mean
MAX_HEAD = 1 << 20  # bytes of JSON
MAX_BYTES = 16 << 30  # of all arrays, unpacked
PLANES = {"cls": np.uint8, "weight": np.float32, "aot": np.float32}  # of an observation, beside dn


def save_state(state: SynthesisState, path: str | Path) -> None:
    """Write a state as one compressed ``.npz`` file; it appears whole or not at all."""
    path = Path(path)
    options = asdict(state.options)
    head = {
        "version": VERSION,
        "synthesis": state.synthesis.isoformat(),
        "bands": list(state.bands),
        "blue": state.blue,
        "nir": state.nir,
        "shape": list(state.shape),
        "grid": state.grid,
        "names": state.names,
        "options": options,
        "observed": [o.day.isoformat() for o in state.observations],
    }
    held: dict[str, Any] = dict(state.arrays)
    for i, one in enumerate(state.observations):
        held |= {f"obs{i}_{k}": getattr(one, k) for k in ("dn", *PLANES)}
    scratch = path.with_name(f".{path.name}.part.npz")
    try:
        np.savez_compressed(scratch, head=np.frombuffer(json.dumps(head).encode(), np.uint8), **held)
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def load_state(path: str | Path) -> SynthesisState:
    """Read a saved state.

    Raises
    ------
    ProcessError
        ``StorageFailure`` for a file that is no state, is damaged, is of another version, or holds something else than its
        header tells.
    """
    try:
        with zipfile.ZipFile(path) as file:
            return _state(file)
    except ProcessError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, RuntimeError, NotImplementedError,
            zipfile.BadZipFile, zlib.error, struct.error, OverflowError, RecursionError) as error:  # fmt: skip
        raise ProcessError(
            "StorageFailure", f"{path} is no saved synthesis: {error or type(error).__name__}."
        ) from error


def _state(file: zipfile.ZipFile) -> SynthesisState:
    raw = _array(file, "head", np.uint8, None)
    head = json.loads(raw.tobytes())
    if head["version"] != VERSION:
        raise ValueError(f"it is of version {head['version']}, this is version {VERSION}")
    bands, shape = tuple(str(b) for b in head["bands"]), tuple(int(n) for n in head["shape"])
    if len(shape) != 2 or min(shape) < 1 or not bands or len(set(bands)) != len(bands):
        raise ValueError("its size or its bands make no sense")
    names, observed = [str(n) for n in head["names"]], [date.fromisoformat(d) for d in head["observed"]]
    options = _options(head["options"])
    expected: dict[str, tuple[Any, tuple[int, ...]]] = {}
    if options.robust or options.level:
        if len(names) != len(observed):
            raise ValueError("its dates are not those of its observations")
        for i in range(len(observed)):
            expected[f"obs{i}_dn"] = (np.float32, (len(bands), *shape))
            expected |= {f"obs{i}_{k}": (dtype, shape) for k, dtype in PLANES.items()}
    else:
        small = empty_sums(1, (1, 1))
        expected = {k: (a.dtype, _grown(a.shape, k, len(bands), shape)) for k, a in small.items()}
    if set(file.namelist()) != {"head.npy", *(f"{k}.npy" for k in expected)}:
        raise ValueError("it holds other arrays than its header tells")
    if sum(int(np.prod(s)) * np.dtype(d).itemsize for d, s in expected.values()) > MAX_BYTES:
        raise ValueError(f"it is larger than {MAX_BYTES >> 30} GiB")
    arrays = {k: _array(file, k, dtype, size) for k, (dtype, size) in expected.items()}
    observations = [
        Observation(day, *(arrays[f"obs{i}_{k}"] for k in ("dn", *PLANES))) for i, day in enumerate(observed)
    ]
    return SynthesisState(
        date.fromisoformat(head["synthesis"]), options, bands, (shape[0], shape[1]), str(head["blue"]),
        None if head["nir"] is None else str(head["nir"]), str(head["grid"]), names,
        {} if observations or options.robust or options.level else arrays, observations,
    )  # fmt: skip


def _grown(small: tuple[int, ...], name: str, bands: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of a sum for ``bands`` and ``shape`` from that for one band and one pixel."""
    if len(small) == 2:
        return shape
    return (small[0] if name in ("count", "last") else bands, *shape)


def _array(file: zipfile.ZipFile, name: str, dtype: Any, shape: tuple[int, ...] | None) -> np.ndarray:
    """One array, after its header was found to be what is expected. ``shape`` None: one axis of up to `MAX_HEAD`."""
    with file.open(f"{name}.npy") as member:
        version = np.lib.format.read_magic(member)
        if version != (1, 0):
            raise ValueError(f"the array {name} is of another format")
        found, fortran, kind = np.lib.format.read_array_header_1_0(member)
        fits = found == shape if shape is not None else len(found) == 1 and found[0] <= MAX_HEAD
        if not fits or fortran or kind != np.dtype(dtype):
            raise ValueError(f"the array {name} has not the size or type that is expected")
        size = int(np.prod(found)) * kind.itemsize
        data = member.read(size + 1)
        if len(data) != size:
            raise ValueError(f"the array {name} is cut short or too long")
        return np.frombuffer(bytearray(data), kind).reshape(found)


def _options(saved: dict[str, Any]) -> Options:
    """Options as they were saved, checked like a user's."""
    weighting = {k: float(v) for k, v in saved["weighting"].items()}
    table = {str(b): [float(c[k]) for k in ("v0", "v1", "r0", "r1")] for b, c in saved["coefficients"].items()}
    checked = Options.of(
        half_window=saved["half_window"], mode=saved["mode"], brdf=saved["brdf"], robust=saved["robust"],
        level=saved["level"], weights=weighting, coefficients=table,
    )  # fmt: skip
    limits = {k: float(saved[k]) for k in ("blue_above", "blue_below", "nir_below")}
    coefficients = {b: Coefficients(*c) for b, c in table.items()}
    return Options(
        checked.half_window, checked.mode, checked.brdf, checked.robust, checked.level, **limits,
        weighting=Weighting.of(weighting), coefficients=coefficients,
    )  # fmt: skip
