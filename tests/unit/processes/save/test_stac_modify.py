"""Merge patches of RFC 7386."""

from __future__ import annotations

import pytest

from processes.errors import ProcessError
from processes.save.save_result import SaveResult
from processes.save.stac_modify import stac_modify


def test_examples_of_the_rfc() -> None:
    item = {"stac_version": "1.1.0", "title": "Goodbye!", "author": {"givenName": "John", "familyName": "Doe"}, "tags": ["a", "b"]}  # fmt: skip
    got = stac_modify(
        item, {"title": "Hello!", "author": {"familyName": None}, "tags": ["a"], "new": {"x": 1, "y": None}}
    )
    assert got == {"stac_version": "1.1.0", "title": "Hello!", "author": {"givenName": "John"}, "tags": ["a"], "new": {"x": 1}}  # fmt: skip
    assert item["author"] == {"givenName": "John", "familyName": "Doe"}


@pytest.mark.parametrize("data", [{}, 1, SaveResult(1, "JSON")])
def test_what_is_no_stac_is_told(data: object) -> None:
    with pytest.raises(ProcessError, match="not a STAC object"):
        stac_modify(data, {})
