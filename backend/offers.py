"""What the service offers beside processes: formats, UDF runtimes, service types, parameters of requests."""

from __future__ import annotations

from typing import Any

from backend.settings import Settings
from backend.udfs import udf_runtimes


class Offers:
    """Read from what is installed and configured."""

    def __init__(self, settings: Settings):
        self._settings = settings

    def file_formats(self) -> dict[str, Any]:
        """``{"input", "output"}`` as the openEO API has them."""
        from backend.results import formats

        return formats()

    def udf_runtimes(self) -> dict[str, Any]:
        """Runtimes that ``run_udf`` knows; none, where none is installed."""
        found = udf_runtimes(self._settings)
        return {} if found is None else found.listed()

    def service_types(self) -> dict[str, Any]:
        """Types of secondary web services."""
        from backend.services.types import service_types

        return service_types()

    def processing_parameters(self) -> dict[str, Any]:
        """What a job or a synchronous request may be told beside its process (openEO extension)."""
        limits = (
            f"A request may use {self._settings.memory_limit >> 20} MiB of memory; the size of blocks follows from that, "
            "so there is no memory option to set."
        )
        skip = {
            "name": "skip_unreadable",
            "description": "Leave out tiles that cannot be read and say so in the log, instead of failing. " + limits,
            "schema": {"type": "boolean"},
            "optional": True,
            "default": self._settings.skip_unreadable,
        }
        return {
            "create_job_parameters": [skip],
            "create_service_parameters": [],
            "create_synchronous_parameters": [],
        }
