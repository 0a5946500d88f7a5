"""Random forests as plain arrays: what is trained, stored and predicted with. No pickle anywhere.

A stored model is a npz file: the arrays of `Forest` and, as the bytes of the array ``metadata``, its JSON description.
"""

from __future__ import annotations

import json
import math
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from processes.errors import ProcessError

FORMAT, VERSION = "tuile-forest", 1
MOST_BYTES = 1 << 30  # unpacked
ARRAYS = ("roots", "feature", "threshold", "left", "right", "values")
TASKS = ("classification", "regression")
_DTYPES = {"roots": "i8", "feature": "i4", "threshold": "f8", "left": "i4", "right": "i4", "values": "f8"}

# what numpy, zipfile and json say of files that are none of theirs, damaged, encrypted or made to do harm
_DAMAGED = (
    OSError, KeyError, ValueError, TypeError, EOFError, MemoryError, RuntimeError, SyntaxError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


@dataclass(frozen=True)
class Untrained:
    """A forest to be trained by `ml_fit`: its task and hyperparameters."""

    task: str
    max_variables: int | str
    num_trees: int = 100
    seed: int | None = None


@dataclass(frozen=True)
class Forest:
    """A trained random forest (see `processes.kernels.forest` for the arrays).

    Attributes
    ----------
    task : ``classification`` or ``regression``
    features : names of the features, in the order of training
    classes : labels of the classes in the order of ``values`` (ascending), empty for regressions
    info : hyperparameters and what training measured, plain JSON
    """

    task: str
    features: tuple[str, ...]
    classes: tuple[Any, ...]
    roots: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    values: np.ndarray
    info: dict[str, Any] = field(default_factory=dict)

    @property
    def codes(self) -> np.ndarray:
        """What a cube holds for each class: the classes where they are numbers, else 0, 1, 2 ..."""
        if all(isinstance(c, (int, float)) and not isinstance(c, bool) for c in self.classes):
            return np.array(self.classes, "f8")
        return np.arange(len(self.classes), dtype="f8")

    def probabilities(self, samples: np.ndarray) -> np.ndarray:
        """Mean leaf values (outputs, ...pixels) of samples (features, ...pixels); NaN where a feature is not finite.

        Raises ``ModelInputMismatch`` where there are more or fewer features than in training.
        """
        from processes.kernels.forest import forest_values

        if len(samples) != len(self.features):
            raise ProcessError(
                "ModelInputMismatch",
                f"The model was trained with {len(self.features)} features ({', '.join(map(str, self.features[:12]))}"
                f"{' ...' if len(self.features) > 12 else ''}); it is given {len(samples)}.",
            )
        shape = samples.shape[1:]
        flat = np.asarray(samples, "f4").reshape(len(samples), -1)
        valid = np.flatnonzero(np.isfinite(flat).all(axis=0))
        out = np.full((self.values.shape[1], flat.shape[1]), np.nan)
        rows = np.ascontiguousarray(flat[:, valid].T)
        out[:, valid] = forest_values(rows, *(getattr(self, name) for name in ARRAYS)).T
        return out.reshape(-1, *shape)

    def predict(self, samples: np.ndarray) -> np.ndarray:
        """Class codes or regressed values (...pixels), float32, of samples (features, ...pixels)."""
        found = self.probabilities(samples)
        if self.task == "regression":
            return found[0].astype("f4")
        best = np.argmax(np.nan_to_num(found, nan=-1.0), axis=0)
        return np.where(np.isnan(found[0]), np.nan, self.codes[best]).astype("f4")

    def metadata(self) -> dict[str, Any]:
        """The model's description, plain JSON."""
        return {
            "format": FORMAT, "version": VERSION, "task": self.task, "features": list(self.features),
            "classes": list(self.classes), "info": self.info,
        }  # fmt: skip

    def save(self, file: Path | IO[bytes]) -> None:
        """Write the npz file."""
        text = np.frombuffer(json.dumps(self.metadata()).encode(), "u1")
        np.savez_compressed(file, metadata=text, **{n: getattr(self, n) for n in ARRAYS})  # type: ignore[arg-type]


def load(path: Path) -> Forest:
    """A stored forest. Raises ``ModelFormatUnsupported`` for anything else; nothing in the file is ever executed."""
    try:
        with zipfile.ZipFile(path) as packed:
            if sum(i.file_size for i in packed.infolist()) > MOST_BYTES:
                raise _unsupported(f"it is larger than {MOST_BYTES >> 20} MiB")
        with np.load(path, allow_pickle=False) as held:
            metadata = json.loads(held["metadata"].tobytes())
            arrays = {n: held[n] for n in ARRAYS}
    except _DAMAGED as error:
        raise _unsupported(str(error)) from error
    return _checked(metadata, arrays)


def _unsupported(why: str) -> ProcessError:
    return ProcessError(
        "ModelFormatUnsupported",
        f"This is not a model that save_ml_model has written ({why}). Pickled models are never opened.",
    )


def _checked(metadata: Any, arrays: dict[str, np.ndarray]) -> Forest:
    """A forest whose trees lead nowhere but to their own leaves: the kernel trusts the arrays."""
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT or metadata.get("version") != VERSION:
        raise _unsupported("its description is another")
    task, features, classes = metadata.get("task"), metadata.get("features"), metadata.get("classes")
    if (
        not isinstance(task, str)
        or task not in TASKS
        or not isinstance(features, list)
        or not features
        or not isinstance(classes, list)
    ):
        raise _unsupported("its description is incomplete")
    if not all(isinstance(c, str) or (isinstance(c, (int, float)) and math.isfinite(c)) for c in classes):
        raise _unsupported("its classes are neither texts nor numbers")
    if any(a.dtype != _DTYPES[n] or a.ndim != (2 if n == "values" else 1) for n, a in arrays.items()):
        raise _unsupported("its arrays have other types")
    nodes = len(arrays["feature"])
    outputs = len(classes) if task == "classification" else 1
    inner = np.flatnonzero(arrays["feature"] >= 0)
    rules: list[Callable[[], bool]] = [
        lambda: nodes > 0 and all(len(arrays[n]) == nodes for n in ("threshold", "left", "right", "values")),
        lambda: arrays["values"].shape[1] == outputs,
        lambda: len(arrays["roots"]) > 0 and bool(((arrays["roots"] >= 0) & (arrays["roots"] < nodes)).all()),
        lambda: bool((arrays["feature"] < len(features)).all()),
        lambda: bool(np.isfinite(arrays["threshold"]).all() and np.isfinite(arrays["values"]).all()),
        # children come after their parents: every walk ends
        lambda: all(bool(((arrays[s][inner] > inner) & (arrays[s][inner] < nodes)).all()) for s in ("left", "right")),
    ]
    if not all(rule() for rule in rules):
        raise _unsupported("its trees are damaged")
    info = metadata.get("info")
    return Forest(
        task, tuple(str(f) for f in features), tuple(classes), **{n: np.ascontiguousarray(a) for n, a in arrays.items()},
        info=info if isinstance(info, dict) else {},
    )  # fmt: skip
