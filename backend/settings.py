"""Every setting, typed, from ``TUILE_*`` environment variables (or a ``.env`` file)."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ByteSize, Field, SecretStr, TypeAdapter
from pydantic_settings import BaseSettings, SettingsConfigDict


def _half_the_machine() -> int:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        total = 8 << 30
    return total // 2


def _bytes(value: Any) -> int:
    """A number of bytes, also as text with a unit: G and GB are 10^9 bytes, GiB 2^30."""
    return int(TypeAdapter(ByteSize).validate_python(value))


class Settings(BaseSettings):
    """Settings of one Tuile process. Paths may be relative to the working directory."""

    model_config = SettingsConfigDict(env_prefix="TUILE_", env_file=".env", extra="ignore")

    archive: list[Path] | Path | None = Field(
        None, description="Folder(s) of satellite products to serve (JSON list for several)."
    )
    data_dir: Path = Field(
        Path("tuile-data"),
        description="Where Tuile keeps its own state: database, results, uploads, workspace.",
    )
    database_url: str | None = Field(None, description="SQLAlchemy URL; default SQLite in DATA_DIR.")
    broker_url: str | None = Field(
        None, description="Celery broker (redis://...); default: filesystem broker in DATA_DIR."
    )
    public_url: str | None = Field(
        None, description="URL clients reach the server at, without path; default: from the request."
    )
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8080, description="Port to listen on; 0 takes a free one.")
    secret_key: SecretStr | None = Field(
        None, description="Key that signs tokens and result URLs; default: made once, kept in DATA_DIR."
    )
    dispatch: Literal["celery", "inline"] = Field(
        "celery", description="Where stages of chains run: on workers, or in the job's own process."
    )
    dask_scheduler: str = Field(
        "threads", description="'threads', 'sync', or the address of a dask.distributed scheduler."
    )
    threads: int = Field(
        default_factory=lambda: os.cpu_count() or 1,
        ge=1,
        description="Blocks computed at once in one process.",
    )
    memory_limit: Annotated[int, BeforeValidator(_bytes)] = Field(
        default_factory=_half_the_machine,
        gt=0,
        description="Bytes one request may use at its peak; also as 4G, 512MB or 4GiB.",
    )
    lease_seconds: float = Field(
        30.0, gt=0, description="Seconds after which a job of a worker that gives no sign of life goes to another one."
    )
    worker_slots: int = Field(1, ge=1, description="Jobs and stage tasks one worker computes at once.")
    sync_slots: int = Field(2, ge=1, description="Synchronous requests computed at once.")
    sync_max_pixels: int = Field(100_000_000, description="Input pixels above which a synchronous request is refused.")
    max_nodes: int = Field(10_000, description="Nodes a process graph may have.")
    tile_slots: int = Field(
        default_factory=lambda: min(os.cpu_count() or 1, 4), ge=1, description="Blocks of map tiles computed at once."
    )
    tile_max_pixels: int = Field(
        100_000_000, description="Input values (dates x bands x pixels) one block of map tiles (512 x 512) may read."
    )
    tile_cache: int = Field(512 << 20, ge=0, description="Bytes of map tiles kept on disk for each user.")
    max_services: int = Field(50, ge=0, description="Web services a user may have.")
    result_ttl: int = Field(7 * 86400, description="Seconds a signed result URL is valid.")
    skip_unreadable: bool = Field(
        False, description="Leave out unreadable tiles with a warning instead of failing the job."
    )
    login_failures: int = Field(
        10,
        ge=0,
        description="Wrong passwords of one user name within ten minutes after which the next login has to wait; of one "
        "client address five times as many. 0: no limit.",
    )
    oidc_providers: list[dict[str, Any]] = Field(
        default_factory=list,
        description="OIDC providers as JSON: id, issuer, title, scopes, default_clients.",
    )
    ogcapi_url: str | None = Field(
        None, description="Landing page of an OGC API Processes of the operator's own, whose processes run_ogcapi runs."
    )
    fetch_allow: list[str] = Field(
        default_factory=list, description="Private hosts or networks that load_stac/load_url may reach."
    )

    @cached_property
    def archives(self) -> list[Path]:
        if self.archive is None:
            return []
        return [Path(p) for p in (self.archive if isinstance(self.archive, list) else [self.archive])]

    @cached_property
    def database(self) -> str:
        return self.database_url or f"sqlite:///{(self.data_dir / 'tuile.sqlite').resolve()}"

    @property
    def embedded_broker(self) -> bool:
        return not self.broker_url

    @property
    def results_dir(self) -> Path:
        return self.data_dir / "results"

    @property
    def workspace_dir(self) -> Path:
        return self.data_dir / "workspace"

    @property
    def files_dir(self) -> Path:
        return self.data_dir / "files"

    @property
    def collections_dir(self) -> Path:
        return self.data_dir / "collections"
