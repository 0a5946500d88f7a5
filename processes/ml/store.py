"""`save_ml_model`, `load_ml_model`: models in the results of jobs, in uploaded files and behind STAC addresses."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from processes.env import Env
from processes.errors import ProcessError, parameter_invalid
from processes.load.fetch import Fetcher, shown
from processes.load.stac_search import link, wait_for_result
from processes.ml.model import MOST_BYTES, Forest, load
from processes.registry import process
from processes.save.save_result import SaveResult

FORMAT = "MLModel"
ROLE = "mlm:model"
SUFFIX = ".npz"


@process(pure=False)
def save_ml_model(data: Forest, name: str = "model", options: Mapping[str, Any] | None = None) -> SaveResult:
    """Mark a trained model for writing into the results: a npz file with the model's arrays and description.

    Raises ``ProcessParameterInvalid`` for what is not a trained model.
    """
    if not isinstance(data, Forest):
        raise parameter_invalid("data", "it is not a trained model")
    return SaveResult(data, FORMAT, {"filename_prefix": str(name or "model"), **dict(options or {})})


@process(pure=False)
def load_ml_model(id: str, *, env: Env | None = None) -> Forest:
    """The model that a finished job of the user has saved (its id), that an uploaded file holds (its path), or that lies
    behind an address: of the file itself, or of STAC with an asset of the role ``mlm:model``.

    Raises ``ModelNotFound``, ``ModelFormatUnsupported``, ``AccessDenied``.
    """
    env = env or Env()
    if not isinstance(id, str) or not id:
        raise parameter_invalid("id", "it must be a job id, an address or a path")
    if id.startswith(("http://", "https://")):
        return _fetched(id, env)
    try:
        return load(env.files.path(id))
    except ProcessError as error:
        if error.code == "ModelFormatUnsupported":
            raise
    if env.results is not None:
        try:
            document, items = env.results.result(id)
        except ProcessError as error:
            raise ProcessError("ModelNotFound", f"There is no model '{id}': {error.message}") from error
        if (href := _model_asset([document, *items])) is not None:
            return load(Path(href))
    raise ProcessError(
        "ModelNotFound", f"'{id}' is neither an uploaded file nor a finished job of yours that has saved a model."
    )


def _fetched(url: str, env: Env) -> Forest:
    with Fetcher(env.fetch_allow) as fetcher, tempfile.TemporaryDirectory(prefix="tuile-model-") as scratch:
        target = url
        if not urlsplit(url).path.endswith(SUFFIX):
            document = wait_for_result(url, fetcher, env)
            documents, base = [document], url
            if _model_asset(documents) is None and (item := link(document, "item", url)) is not None:
                documents, base = [fetcher.json(item)], item
            href = _model_asset(documents)
            if href is None:
                raise ProcessError("ModelNotFound", f"{shown(url)} names no model: no asset has the role {ROLE}.")
            target = urljoin(base, href)
        return load(fetcher.download(target, Path(scratch) / "model.npz", MOST_BYTES))


def _model_asset(documents: Iterable[Mapping[str, Any]]) -> str | None:
    assets = [a for d in documents for a in (d.get("assets") or {}).values() if a.get("href")]
    for fits in (lambda a: ROLE in (a.get("roles") or []), lambda a: urlsplit(a["href"]).path.endswith(SUFFIX)):
        if (found := next((a for a in assets if fits(a)), None)) is not None:
            return str(found["href"])
    return None
