"""Results as text, as a page of the documentation and as a plot."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np


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


def ratios(result: dict[str, Any]) -> dict[str, float | None]:
    """Ours to decode, and odc-stac (chunks of 2048 and of 512 pixels) to ours, in CPU seconds; None: not measured."""
    cpu = {n: m["cpu"] for n, m in result["medians"].items()}

    def ratio(a: str, b: str) -> float | None:
        return cpu[a] / cpu[b] if a in cpu and b in cpu else None

    return {
        "ratio_to_decode": ratio("ours", "decode"),
        "ratio_to_odcstac": ratio("odc-stac+xarray", "ours"),
        "ratio_to_odcstac_512": ratio("odc-stac, chunks 512", "ours"),
    }


RATIOS = ("ratio_to_decode", "ratio_to_odcstac", "ratio_to_odcstac_512")


def seconds(value: float) -> str:
    """Three figures below a second."""
    return f"{value:.2f}" if value >= 1 else f"{value:.3f}"


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
            name, seconds(m["cpu"]), f"{m['cpu'] / decode:.2f}" if decode else "-", seconds(m["wall"]),
            seconds(result["first"][name]["wall"]), f"{m['peak'] / 1e6:.0f}", str(m["runs"]),
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
    holes, common, differing, most = 0, 0, 0, 0.0
    for k in np.ndindex(ours.shape[: max(ours.ndim - 2, 0)]):  # plane by plane: a whole tile would not fit in memory
        a, b = np.asarray(ours[k], "f8"), np.asarray(theirs[k], "f8")
        holes += int((np.isnan(a) != np.isnan(b)).sum())
        both = ~np.isnan(a) & ~np.isnan(b)
        with np.errstate(invalid="ignore"):  # infinities that are equal lie nothing apart
            apart = np.where(a[both] == b[both], 0.0, np.abs(a[both] - b[both]))
        common, differing = common + apart.size, differing + int((apart > 1e-6).sum())
        most = max(most, float(apart.max(initial=0)))
    if not common:
        return "no common value"
    text = "identical" if not most else f"max {most:.1g}, differing {differing / common:.1%}"
    return text + (f"; {holes} values where only one has any" if holes else "")


def print_other(told: dict[str, Any]) -> None:
    """A workload that has a command of its own."""
    figures = ", ".join(f"{k} {v:g}" if isinstance(v, int | float) else f"{k} {v}" for k, v in told.get("figures", {}).items())  # fmt: skip
    note = f" ({told['note']})" if "note" in told else ""
    print(f"{told['workload']}  {told['title']}: {figures}{note}   [{told['command']}]", flush=True)


def replace_block(page: Path, name: str, lines: Sequence[str]) -> None:
    """Put ``lines`` between the marks ``<!-- name: begin -->`` and ``<!-- name: end -->`` of a page; the prose around
    stays. Raises ValueError where the page has no such marks."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    text = page.read_text()
    if begin not in text or end not in text:
        raise ValueError(f"{page} has no marks '{begin}' and '{end}'")
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    page.write_text(before + "\n".join([begin, "", *lines, "", end]) + after)
    print(f"written: {page} ({name})")


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> list[str]:
    """A table; columns ``left`` are text, the others numbers."""
    marks = "|".join("---" if k in left else "--:" for k in range(len(columns)))
    return ["| " + " | ".join(columns) + " |", f"|{marks}|", *("| " + " | ".join(r) + " |" for r in rows)]


def write(passes: Sequence[dict[str, Any]], elsewhere: Sequence[dict[str, Any]], docs: Path, command: str) -> None:
    """The measured part of ``docs/explanation/performance.md``, its plot, and all figures as JSON."""
    results = passes[0]["results"]
    _plot(results, docs / "assets" / "performance.svg")
    data = {"command": command, "machine": machine(), "passes": list(passes), "others": list(elsewhere)}
    (docs / "assets" / "performance.json").write_text(json.dumps(data, indent=1) + "\n")
    lines = [f"`{command}` on {data['machine']}.", "", "![CPU seconds relative to decoding](../assets/performance.svg)", "",
             "All figures as [JSON](../assets/performance.json).", ""]  # fmt: skip
    lines += markdown(["", "archive", *RATIOS], _summary(passes), left=(0, 1))
    for one in passes:
        lines += ["", f"### {one['archive']}", "", *_tables(one)]
    lines += ["### Chains, map tiles and kernels", ""]
    lines += markdown(["", "what", "figures", "command"], [_other_row(o) for o in elsewhere], left=(0, 1, 2, 3))
    versions = {n: v for r in results for n, v in r["versions"].items()}
    told = "; ".join(f"{n}: " + ", ".join(f"{k} {v}" for k, v in vs.items()) for n, vs in versions.items())
    replace_block(docs / "explanation" / "performance.md", "measured", [*lines, "", f"Versions: {told}."])


def write_tile(one: dict[str, Any], docs: Path, command: str) -> None:
    """The part on a whole tile of ``docs/explanation/performance.md``."""
    lines = [f"`{command}` on {machine()}.", "", *markdown(["", "archive", *RATIOS], _summary([one]), left=(0, 1)), ""]
    replace_block(docs / "explanation" / "performance.md", "tile", [*lines, *_tables(one)])


def _tables(one: dict[str, Any]) -> list[str]:
    lines = []
    for result in one["results"]:
        lines += [f"**{result['workload']}** {result['title']}", ""]
        lines += [*markdown(COLUMNS, rows(result), left=(0, len(COLUMNS) - 1)), ""]
    return lines


def _summary(passes: Sequence[dict[str, Any]]) -> list[list[str]]:
    out = []
    for one in passes:
        for result in one["results"]:
            if result["workload"] != "W4":
                told = (f"{v:.2f}" if v else "-" for v in ratios(result).values())
                out.append([result["workload"], one["archive"], *told])
    return out


def _other_row(told: dict[str, Any]) -> list[str]:
    figures = ", ".join(f"{k} {v:g}" if isinstance(v, int | float) else f"{k} {v}" for k, v in told.get("figures", {}).items())  # fmt: skip
    note = told.get("note", "")
    return [told["workload"], told["title"], f"{figures} {note}".strip(), f"`{told['command']}`"]


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
