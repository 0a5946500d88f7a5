"""The definitions we publish have exactly the standard's interface, in our own words."""

from __future__ import annotations

import json

import pytest

from processes.registry import SPECS
from tests.conformance import assets, words
from tests.conformance.extract_interfaces import definitions, text

if not (assets.shared() / "openeo").is_dir():
    pytest.skip("no official openEO assets beside the checkout", allow_module_level=True)

SOURCES = {d["id"]: d for d in definitions(assets.definitions_folder())}


def test_every_process_is_there():
    assert len(SOURCES) == 155
    assert set(words.PROCESSES) == set(SOURCES)


@pytest.mark.parametrize("id", SOURCES)
def test_interface_is_the_standards(id):
    ours, theirs = json.loads((SPECS / f"{id}.json").read_text()), SOURCES[id]
    assert [p["name"] for p in ours["parameters"]] == [p["name"] for p in theirs["parameters"]]
    for mine, official in zip(ours["parameters"], theirs["parameters"]):
        for key in ("schema", "optional", "default", "deprecated"):
            assert mine.get(key) == official.get(key), (mine["name"], key)
    assert ours["returns"]["schema"] == theirs["returns"]["schema"]
    assert ours["categories"] == theirs["categories"]
    assert set(ours.get("exceptions", {})) == set(theirs.get("exceptions", {}))
    assert ours.get("experimental", False) == theirs.get("experimental", False)


@pytest.mark.parametrize("id", SOURCES)
def test_files_are_what_the_script_writes(id):
    assert (SPECS / f"{id}.json").read_text(encoding="utf-8") == text(SOURCES[id])


@pytest.mark.parametrize("id", SOURCES)
def test_words_are_ours(id):
    ours, theirs = json.loads((SPECS / f"{id}.json").read_text()), SOURCES[id]
    pairs = [(ours["summary"], theirs["summary"]), (ours["description"], theirs["description"])]
    pairs += [(a["description"], b["description"]) for a, b in zip(ours["parameters"], theirs["parameters"])]
    pairs += [(e["message"], theirs["exceptions"][c]["message"]) for c, e in ours.get("exceptions", {}).items()]
    # single words and plain names of a quantity ("Sine", "The array.") leave no other choice
    same = [a for a, b in pairs if a.strip(". ").lower() == b.strip(". ").lower() and len(a.split()) > 3]
    assert not same
