"""Model files that chance or malice has made: each is a forest that predicts, or is refused with a reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from processes.errors import ProcessError
from processes.ml.model import ARRAYS, load
from tests.unit.processes.ml.cases import CLASSES

SAMPLES = np.random.default_rng(1).normal(size=(3, 50)).astype("f4")


def test_damaged_bytes(tmp_path: Path) -> None:
    file = tmp_path / "model.npz"
    CLASSES.save(file)
    whole = file.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for k in range(400):
        held = bytearray(whole)
        for _ in range(rng.integers(1, 4)):
            held[rng.integers(len(held))] = rng.integers(256)
        file.write_bytes(held[: rng.integers(len(held))] if k % 5 == 0 else held)
        try:
            model = load(file)
        except ProcessError as error:
            assert error.code == "ModelFormatUnsupported"
            refused += 1
        else:  # bytes that mean nothing were hit
            assert model.predict(SAMPLES[: len(model.features)]).shape == (50,)
    assert refused > 200


DESCRIBED = CLASSES.metadata()


@pytest.mark.parametrize(
    ("metadata", "arrays"),
    [
        (b"[" * 200_000, {}),
        (b"\xff\xfe", {}),
        (DESCRIBED | {"classes": [{"a": 1}, [2]]}, {}),
        (DESCRIBED | {"classes": [1, float("inf")]}, {}),
        (DESCRIBED | {"task": ["classification"]}, {}),
        (DESCRIBED | {"features": ["B1", "B2"], "task": "regression"}, {}),
        (DESCRIBED, {"threshold": np.full(3, np.nan)}),
        (DESCRIBED, {"values": np.full((3, 2), np.inf)}),
        (DESCRIBED, {"left": np.array([0, 0, 0], "i4")}),
        (DESCRIBED, {"right": np.array([9, 0, 0], "i4")}),
        (DESCRIBED, {"roots": np.array([-1])}),
        (DESCRIBED, {"feature": np.array([3, -1, -1], "i4")}),
        (DESCRIBED, {"values": np.array([[None, None]] * 3, object)}),
    ],
)
def test_made_up_models(metadata: Any, arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    text = metadata if isinstance(metadata, bytes) else json.dumps(metadata).encode()
    held = {n: getattr(CLASSES, n) for n in ARRAYS} | arrays
    np.savez(tmp_path / "model.npz", metadata=np.frombuffer(text, "u1"), **held)
    with pytest.raises(ProcessError, match="ModelFormatUnsupported"):
        load(tmp_path / "model.npz")
