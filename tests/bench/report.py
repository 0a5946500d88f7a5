"""Results as text, as a page of the documentation and as a plot."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

START, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def machine() -> str:
    """Processor, cores, memory, load, date."""
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.processor(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = os.getloadavg()[0]
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores of {model}, {memory:.0f} GiB, Python {platform.python_version()}, load average {load:.1f}"


def archive_of(spec: dict[str, Any]) -> str:
    plan = spec["plan"]
    return f"{plan['size']} x {plan['size']} pixels of 10 m, {plan['dates']} dates, int16 {plan['compression']} (predictor 2, 512 blocks, overviews)"


def ratios(result: dict[str, Any]) -> tuple[float | None, float | None]:
    """(ours / decode, odc-stac / ours) in CPU seconds; None where one was not measured."""
    cpu = {n: m["cpu"] for n, m in result["medians"].items()}
    ours, decode, odc = (cpu.get(n) for n in ("ours", "decode", "odc-stac+xarray"))
    return (ours / decode if ours and decode else None), (odc / ours if odc and ours else None)


def rows(result: dict[str, Any]) -> list[list[str]]:
    """Contender, CPU, CPU / decode, wall, first run's wall, peak MB, runs, remark."""
    medians = result["medians"]
    decode = medians.get("decode", {}).get("cpu")
    out = []
    for name in [*medians, *result["notes"]]:
        m = medians.get(name)
        if m is None:
            out.append([name, *["-"] * 6, result["notes"][name]])
            continue
        out.append([
            name, f"{m['cpu']:.2f}", f"{m['cpu'] / decode:.2f}" if decode else "-", f"{m['wall']:.2f}",
            f"{result['first'][name]['wall']:.2f}", f"{m['peak'] / 1e6:.0f}", str(m["runs"]),
            result["differences"].get(name, ""),
        ])  # fmt: skip
    return out


COLUMNS = ["", "CPU s", "CPU / decode", "wall s", "first wall s", "peak MB added", "runs", "result beside ours"]


def print_table(result: dict[str, Any]) -> None:
    table = [COLUMNS, *rows(result)]
    widths = [max(len(r[k]) for r in table) for k in range(len(COLUMNS))]
    for row in table:
        cells = [v.ljust(w) if k in (0, len(COLUMNS) - 1) else v.rjust(w) for k, (v, w) in enumerate(zip(row, widths))]
        print("  " + "  ".join(cells).rstrip())
    print(flush=True)


def difference(ours: np.ndarray, theirs: np.ndarray) -> str:
    """How far two results lie apart, and where only one has a value."""
    if ours.shape != theirs.shape:
        return f"another shape: {theirs.shape}, ours {ours.shape}"
    a, b = np.asarray(ours, "f8"), np.asarray(theirs, "f8")
    holes = int((np.isnan(a) != np.isnan(b)).sum())
    both = ~np.isnan(a) & ~np.isnan(b)
    if not both.any():
        return "no common value"
    apart = np.abs(a[both] - b[both])
    text = "identical" if not apart.any() else f"max {apart.max():.1g}, differing {np.mean(apart > 1e-6):.1%}"
    return text + (f"; {holes} values where only one has any" if holes else "")


def write(results: Sequence[dict[str, Any]], spec: dict[str, Any], docs: Path, command: str) -> None:
    """The measured part of ``docs/explanation/performance.md``, and its plot. The prose around it stays."""
    page = docs / "explanation" / "performance.md"
    plot = docs / "assets" / "performance.svg"
    page.parent.mkdir(parents=True, exist_ok=True)
    plot.parent.mkdir(parents=True, exist_ok=True)
    _plot(results, plot)
    lines = [START, "", f"`{command.strip()}` on {machine()}; {archive_of(spec)}, {spec['threads']} threads.", "",
             "![CPU seconds relative to decoding](../assets/performance.svg)", ""]  # fmt: skip
    for result in results:
        lines += [
            f"**{result['workload']}** {result['title']}",
            "",
            "| " + " | ".join(COLUMNS) + " |",
            "|---|" + "--:|" * 6 + "---|",
        ]
        lines += ["| " + " | ".join(row) + " |" for row in rows(result)]
        lines.append("")
    versions = {n: v for r in results for n, v in r["versions"].items()}
    lines += [
        "Versions: "
        + "; ".join(f"{n}: " + ", ".join(f"{k} {v}" for k, v in vs.items()) for n, vs in versions.items())
        + ".",
        "",
        END,
    ]
    text = page.read_text() if page.is_file() else f"# Performance\n\n{START}\n{END}\n"
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    page.write_text(before + "\n".join(lines) + after)
    print(f"written: {page}, {plot}")


def _plot(results: Sequence[dict[str, Any]], path: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    names = list(dict.fromkeys(n for r in results for n in r["medians"] if n != "decode"))
    figure, axes = plt.subplots(figsize=(8, 3.6), layout="constrained")
    width = 0.8 / max(len(names), 1)
    for k, name in enumerate(names):
        heights = [
            r["medians"][name]["cpu"] / r["medians"]["decode"]["cpu"] if name in r["medians"] else np.nan
            for r in results
        ]
        at = np.arange(len(results)) + (k - len(names) / 2 + 0.5) * width
        axes.bar(at, heights, width, label=name)
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set_yscale("log")
    axes.set_xticks(range(len(results)), [r["workload"] for r in results])
    axes.set_ylabel("CPU relative to decoding")
    axes.legend(fontsize=7, ncols=2)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
