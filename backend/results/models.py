"""MLModel: trained models as npz files, described with STAC's MLM extension."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backend.results.asset import Asset
from backend.results.format import PREFIX, Format, Output, Target, unsuitable
from processes.ml.model import Forest
from processes.ml.store import FORMAT, ROLE, SUFFIX


class Model(Output):
    """A model's file."""

    def __init__(self, data: Any, options: Mapping[str, Any], target: Target):
        if not isinstance(data, Forest):
            raise unsuitable(FORMAT, "it is not a trained model.")
        self.data, self.target = data, target

    def finish(self) -> list[Asset]:
        path = self.target.path(SUFFIX[1:])
        self.data.save(path)
        metadata = {
            "mlm:name": self.target.stem,
            "mlm:architecture": "Random Forest",
            "mlm:tasks": [self.data.task],
            "mlm:hyperparameters": {k: v for k, v in self.data.info.items() if v is not None},
            "mlm:input": [
                {
                    "name": "features",
                    "bands": list(self.data.features),
                    "input": {"shape": [-1, len(self.data.features)], "dim_order": ["sample", "feature"], "data_type": "float32"},
                }
            ],
            "mlm:output": [
                {
                    "name": self.data.task,
                    "tasks": [self.data.task],
                    "result": {"shape": [-1], "dim_order": ["sample"], "data_type": "float32"},
                    "classification:classes": [
                        {"value": int(v), "name": str(c)} for v, c in zip(self.data.codes, self.data.classes)
                    ],
                }
            ],
        }  # fmt: skip
        return [Asset(path, "application/x-npz", "Random forest", roles=("data", ROLE), metadata=metadata)]


FORMATS = [
    Format(
        FORMAT,
        "Trained model",
        "A random forest as plain arrays (npz) with its description; load_ml_model reads it.",
        ("other",),
        Model,
        PREFIX,
    )
]
