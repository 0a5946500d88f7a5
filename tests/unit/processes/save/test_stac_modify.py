"""Merge patches of RFC 7386."""

from __future__ import annotations

import pytest

from processes.errors import ProcessError
from processes.save.exports import Changes
from processes.save.save_result import SaveResult
from processes.save.stac_modify import stac_modify


def test_examples_of_the_rfc() -> None:
    item = {"stac_version": "1.1.0", "title": "Goodbye!", "author": {"givenName": "John", "familyName": "Doe"}, "tags": ["a", "b"]}  # fmt: skip
    got = stac_modify(
        item, {"title": "Hello!", "author": {"familyName": None}, "tags": ["a"], "new": {"x": 1, "y": None}}
    )
    assert got == {"stac_version": "1.1.0", "title": "Hello!", "author": {"givenName": "John"}, "tags": ["a"], "new": {"x": 1}}  # fmt: skip
    assert item["author"] == {"givenName": "John", "familyName": "Doe"}


@pytest.mark.parametrize("data", [{}, 1])
def test_what_is_no_stac_is_told(data: object) -> None:
    with pytest.raises(ProcessError, match="neither a STAC object"):
        stac_modify(data, {})


def test_changes_of_a_result_wait_until_it_is_written() -> None:
    save = SaveResult(1, "JSON")
    got = stac_modify(save, {"title": "Snow"})
    assert isinstance(got, SaveResult)
    assert got.steps == (Changes({"title": "Snow"}),)
    assert (got.data, got.format, save.steps) == (1, "JSON", ())
