"""Settings that take more than one form."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from backend.settings import Settings


@pytest.mark.parametrize(
    ("text", "size"), [("2000000000", 2_000_000_000), ("4G", 4 * 10**9), ("512MB", 512 * 10**6), ("1GiB", 1 << 30)]
)
def test_the_memory_limit_may_have_a_unit(monkeypatch, text, size):
    monkeypatch.setenv("TUILE_MEMORY_LIMIT", text)
    assert Settings().memory_limit == size


@pytest.mark.parametrize("text", ["much", "0", "-1"])
def test_a_memory_limit_that_is_no_size_is_refused(monkeypatch, text):
    monkeypatch.setenv("TUILE_MEMORY_LIMIT", text)
    with pytest.raises(ValidationError, match="memory_limit"):
        Settings()
