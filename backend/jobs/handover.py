"""Settings as environment variables: how a process hands them to the processes it starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from backend.settings import Settings

# A worker signs nothing.
WITHHELD = {"secret_key"}


def environment(settings: Settings) -> dict[str, str]:
    """``TUILE_*`` variables from which `Settings` builds the same settings (but for secrets workers do not need)."""
    prefix = settings.model_config["env_prefix"]
    values = settings.model_dump(mode="python", exclude=WITHHELD, exclude_none=True)
    return {f"{prefix}{name.upper()}": _text(value) for name, value in values.items()}


def _text(value: Any) -> str:
    if isinstance(value, Path):
        return str(value.absolute())
    if isinstance(value, list):
        return json.dumps([str(v.absolute()) if isinstance(v, Path) else v for v in value])
    if isinstance(value, (dict, bool)):
        return json.dumps(value)
    return str(value)
