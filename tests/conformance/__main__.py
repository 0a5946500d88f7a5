"""``python -m tests.conformance [process ...]``: our figures beside those of others.

Every case runs twice, on numpy cubes and on cubes in many dask blocks, and counts only if both pass. Editions: ``raw``
as published, its notation read as meant (`tests.conformance.notation`; ``literal`` without that); ``patched`` with the
shared patch; ``repaired`` with the corrections of `tests.conformance.corrections` too. Cases of ``raw`` that fail are
listed with what is wrong in them as published.
"""

from __future__ import annotations

import sys
import warnings

from tests.conformance.cases import Case, Edition
from tests.conformance.corrections import CORRECTIONS
from tests.conformance.notation import RULES
from tests.conformance.runner import run_all

# (who, passed, failed, skipped): published measurements, not run here
PEERS = (
    ("openeo-processes-dask 2026.9.1, as published", 652, 318, 44),
    ("openeo-processes-dask 2026.9.1, asset path fixed, pytest 9", 707, 263, 44),
    ("openeo-processes-dask 2026.9.1, repaired tests and harness, chunked, pytest 8.2", 808, 187, 19),
    ("openeo-python-driver, patched runner", 682, 249, 83),
    ("titiler-openeo, scalars and arrays only", 434, 177, 403),
)


def passed(edition: Edition, only: set[str]) -> tuple[int, int]:
    """Prints the failing cases of an edition; how many passed on numpy and chunked cubes alike, and of how many."""
    numpy, chunked = run_all(edition), run_all(edition, chunked=True)
    both = 0
    print(f"\nfailing, {edition}:")
    for a, b in zip(numpy, chunked):
        both += a.passed and b.passed
        if only and a.case.process not in only:
            continue
        if a.failure == b.failure and a.failure:
            print(f"  {a.case.id}: {a.failure[:200]}{upstream(a.case) if edition == 'raw' else ''}")
        else:
            for outcome, how in ((a, "numpy"), (b, "chunked")):
                if outcome.failure:
                    print(f"  {a.case.id} ({how}): {outcome.failure[:200]}")
    counts = [sum(o.passed for o in outcomes) for outcomes in (numpy, chunked)]
    print(f"{edition}: numpy {counts[0]}, chunked {counts[1]}, both {both} of {len(numpy)}")
    return both, len(numpy)


def upstream(case: Case) -> str:
    """What is wrong with a case as published, on lines of its own; empty where we know of nothing."""
    reasons = dict.fromkeys(c.reason for c in CORRECTIONS.get(case.id, ()))
    return "".join(f"\n      published wrong, tests/{case.process}.json5 case {case.index}: {r}" for r in reasons)


def main() -> None:
    warnings.simplefilter("ignore", RuntimeWarning)
    print("openEO processes 2.0.0-rc.2, 1014 cases: pass / fail / skip (published measurements of others)")
    for name, good, bad, skipped in PEERS:
        print(f"  {name}: {good} / {bad} / {skipped}")
    only = set(sys.argv[1:])
    literal, raw = passed("literal", only), passed("raw", only)
    patched, repaired = passed("patched", only), passed("repaired", only)
    print(f"\nto the letter {literal[0]}/{literal[1]}; raw reads the same files, but")
    for rule in RULES:
        print(f"  - {rule}")
    print(f"with the shared patch alone {patched[0]}/{patched[1]}")
    print(f"repaired = shared patch + {sum(map(len, CORRECTIONS.values()))} corrections of cases it leaves wrong")
    print(f"ours raw {raw[0]}/{raw[1]}")
    print(f"ours repaired {repaired[0]}/{repaired[1]}")


if __name__ == "__main__":
    main()
