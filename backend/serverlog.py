"""The server's own log: one JSON object per line on stderr, each with the id of the request it belongs to."""

from __future__ import annotations

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
_EXTRA = "tuile"  # logger.info("...", extra={"tuile": {...}}) puts fields beside the message


class JsonFormatter(logging.Formatter):
    """``{"time", "level", "logger", "message", "request", ...}``; a traceback goes to ``stacktrace``."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if (id := request_id.get()) is not None:
            line["request"] = id
        line |= getattr(record, _EXTRA, {})
        if record.exc_info:
            line["stacktrace"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure(level: int | str = logging.INFO) -> None:
    """Send the log of this process to stderr as JSON lines (replaces handlers set before)."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for chatty in ("waitress", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
