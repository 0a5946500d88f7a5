"""Find the archive's products: readers turn them into STAC items, an index finds the items."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backend.catalogue.index import Catalogue
    from backend.settings import Settings


def open_catalogue(settings: Settings) -> Catalogue:
    """The catalogue of a service.

    It lives in ``TUILE_DATABASE_URL`` where that is set, else in a SQLite file of its own in ``TUILE_DATA_DIR``: a long
    ingest then never holds the lock that jobs need.
    """
    from backend.catalogue.index import Catalogue
    from backend.store.db import Database

    url = settings.database_url or f"sqlite:///{(settings.data_dir / 'catalogue.sqlite').resolve()}"
    return Catalogue(Database(url))
