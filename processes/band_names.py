"""Names of Sentinel-2's bands: ``B02`` for users, ``B2`` in files and metadata of many products."""

from __future__ import annotations


def padded(band: str) -> str:
    """``B2`` -> ``B02``; ``B8A`` and ``B11`` as they are."""
    return f"B{int(band[1:]):02d}" if band[1:].isdigit() else band


def short(band: str) -> str:
    """``B02`` -> ``B2``; ``B8A`` and ``B11`` as they are."""
    return f"B{int(band[1:])}" if band[1:].isdigit() else band
