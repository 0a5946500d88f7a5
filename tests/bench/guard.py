"""The regression guard of `make bench-quick`: ratios of one run beside the stored ones, never seconds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

BASELINE = Path(__file__).resolve().with_name("baseline.json")
REGRESSION = 1.2
Ratios = Mapping[str, Mapping[str, float | None]]


def judge(now: Ratios, stored: Ratios) -> tuple[list[str], bool]:
    """One line per workload, and whether one of them is more than a fifth worse than stored or was not measured.

    Judged is the CPU time relative to decoding the same bytes in the same run. The ratio to odc-stac is told only: a new
    version of a peer is no fault of ours.
    """
    lines, failed = [], False
    for workload, before in stored.items():
        then, here = before.get("ratio_to_decode"), now.get(workload, {}).get("ratio_to_decode")
        if not then:
            continue
        if not here:
            lines.append(f"{workload} ratio_to_decode was not measured, stored {then:.2f}: REGRESSION")
            failed = True
            continue
        worse = here / then
        failed |= worse > REGRESSION
        verdict = "REGRESSION" if worse > REGRESSION else "ok"
        lines.append(f"{workload} ratio_to_decode {here:.2f}, stored {then:.2f}: {verdict} ({worse - 1:+.0%})")
    return lines, failed


def stored() -> Ratios:
    """The kept ratios; raises FileNotFoundError where none were kept yet (``--store`` keeps them)."""
    return json.loads(BASELINE.read_text())


def keep(now: Ratios) -> None:
    BASELINE.write_text(json.dumps(now, indent=2) + "\n")
