"""The key that signs URLs: from the settings, else made once and kept in the data folder."""

from __future__ import annotations

import os
import secrets

from backend.settings import Settings

_FILE = "secret.key"


def secret_key(settings: Settings) -> bytes:
    """The server's key, at least 32 bytes. All processes of one data folder get the same."""
    if settings.secret_key is not None:
        return settings.secret_key.get_secret_value().encode()
    path = settings.data_dir / _FILE
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        # Written beside and linked: another process never sees half a key, and the first one to link wins.
        scratch = path.with_name(f".{_FILE}.{os.getpid()}.{secrets.token_hex(4)}")
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
        try:
            path.hardlink_to(scratch)
        except FileExistsError:
            pass  # made by another process meanwhile: that one counts
        finally:
            scratch.unlink()
    return path.read_text().strip().encode()
