"""The tutorial on snow; see docs/notebook.py for how it becomes a page."""

# %% [markdown]
# # Snow
#
# From a season of Sentinel-2 images to maps of snow, its duration and the snow line: `lis_snow`, `snow_synthesis` and
# `snow_line`.
#
# Every cell on this page ran when the page was built; the outputs and pictures are what it printed and drew. The images
# are synthetic: a valley in the Alps that does not exist, over a winter, written as Theia (MUSCATE) products with
# their masks. What really lay on the ground is known, so the maps can be checked.

# %%
from datetime import date, datetime
from pathlib import Path

import matplotlib.dates as mdates
import matplotlib.pyplot as plt
import numpy as np
import rasterio
import xarray as xr
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LightSource, LinearSegmentedColormap, Normalize, to_rgb
from matplotlib.patches import Patch
from rich.console import Console

from backend.demo.archive import Plan, generate, season
from backend.graph.run import execute
from backend.local import local_env
from backend.settings import Settings
from processes.lis import snow_line
from processes.load.load_collection import load_collection

# %% [markdown]
# ## The archive
#
# 32 acquisitions of a window of 5.4 x 5.4 km, with a DEM, tree cover and water beside them. On your own archive, set
# `TUILE_ARCHIVE` and leave this cell out.

# %%
winter = {
    "size": 540, "dates": 32, "start": date(2023, 9, 20), "days": 310, "tiles": ("31TGK",), "seed": 10,
    "distribution": "D", "bands": ("B02", "B03", "B04", "B8A", "B11"),
}  # fmt: skip
archive = Path("archive")
if not archive.exists():
    generate(archive, workers=1, **winter)

# %% [markdown]
# `local_env` indexes the archive and gives what a process graph runs in, without a server; `tuile run` does the same.

# %%
settings = Settings(archive=[archive.resolve()], data_dir=Path("index"))
service = local_env(settings, Console(quiet=True))

images = service.catalogue.search("SENTINEL2_L2A_MAJA")
print(f"{len(images)} images from {images[0].datetime:%Y-%m-%d} to {images[-1].datetime:%Y-%m-%d}")
print("collections:", ", ".join(c["id"] for c in service.catalogue.collections()))

# %% [markdown]
# ## Snow maps
#
# The process graph is what any openEO client sends. Since the collection is only loaded, `lis_snow` works on whole
# products: each acquisition becomes a snow product, with the snow line of its tile. Asking again costs nothing, because
# the products are kept.
#
# With the Python client and a server it is
# `connection.load_collection("SENTINEL2_L2A_MAJA").process("lis_snow", data=THIS).save_result("netCDF")`.


# %%
def run(graph: dict, name: str) -> Path:
    """Run a process graph and return the file it saves."""
    out = Path(name)
    out.mkdir(exist_ok=True)
    (asset,) = execute({"process_graph": graph}, service, out)
    return asset.path


def node(process: str, **arguments) -> dict:
    return {"process_id": process, "arguments": arguments}


everything = {"spatial_extent": None, "temporal_extent": None}
maps = {
    "load": node("load_collection", id="SENTINEL2_L2A_MAJA", **everything),
    "snow": node("lis_snow", data={"from_node": "load"}),
    "save": node("save_result", data={"from_node": "snow"}, format="netCDF") | {"result": True},
}
snow = xr.open_dataset(run(maps, "maps"), mask_and_scale=False)
print(dict(snow.sizes), *(n for n in snow.data_vars if n != "crs"))

# %% [markdown]
# One day of them over the relief, beside the image it was made of. The wide band of cloud is thin cirrus, which the
# product's mask tells and the eye hardly sees.

# %%
day = "2024-02-26"
image = load_collection("SENTINEL2_L2A_MAJA", bands=["B04", "B03", "B02"], env=service).sel(t=day).isel(t=0)
dem = load_collection("DEM", env=service).isel(bands=0).coarsen(y=2, x=2).mean().values
light = np.clip(0.2 + 0.95 * LightSource(azdeg=315, altdeg=45).hillshade(dem, dx=20, dy=20), 0, 1)
extent = (0, snow.sizes["x"] * 0.02, 0, snow.sizes["y"] * 0.02)  # km
CLASSES = {0: ("no snow", "#b9a97c"), 100: ("snow", "#ffffff"), 205: ("cloud or cloud shadow", "#8596ba"),
           255: ("no data, water", "#333333")}  # fmt: skip


def over_relief(axes, colours: np.ndarray, title: str) -> None:
    """Show colours (rows, columns, 3) in the light of the relief."""
    axes.imshow(colours * light[..., None], extent=extent)
    axes.set(title=title, xlabel="km")


def painted(codes: np.ndarray) -> np.ndarray:
    """Colours of snow codes."""
    out = np.zeros((*codes.shape, 3))
    for code, (_, colour) in CLASSES.items():
        out[codes == code] = to_rgb(colour)
    return out


fig, (left, right) = plt.subplots(1, 2, figsize=(10, 5.6), layout="constrained")
left.imshow(np.clip(image.transpose("y", "x", "bands").values / 0.8, 0, 1) ** 0.5, extent=extent)
left.set(title=f"Sentinel-2 image, {day}", xlabel="km", ylabel="km", facecolor=CLASSES[255][1])
over_relief(right, painted(snow["SEB"].sel(t=day).isel(t=0).values), f"Snow map (SEB), {day}")
handles = [Patch(facecolor=c, edgecolor="grey", label=n) for n, c in CLASSES.values()]
fig.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)

# %% [markdown]
# `SEB` says where there is snow; `FSCTOC` how much of the pixel it covers, seen from above. The generator knows the
# truth, so all days can be checked where the sky was clear.

# %%
found, truth, codes = [], [], []
for moment in snow["t"].values:
    folder = archive / "truth" / "T31TGK" / np.datetime_as_string(moment, "D").replace("-", "")
    layers = {}
    for name in ("snow_fraction", "cloud_optical_depth", "shadow"):
        with rasterio.open(folder / f"{name}.tif") as source:
            layers[name] = source.read(1).reshape(270, 2, 270, 2).mean(axis=(1, 3)) * source.scales[0]
    clear = (layers["cloud_optical_depth"] == 0) & (layers["shadow"] == 0)
    seen = clear & (snow["SEB"].sel(t=moment).values <= 100)
    codes.append(snow["SEB"].sel(t=moment).values[seen] == 100)
    found.append(snow["FSCTOC"].sel(t=moment).values[seen] / 100)
    truth.append(layers["snow_fraction"][seen])
found, truth, codes = map(np.concatenate, (found, truth, codes))
agree = (codes == (truth >= 0.5)).mean()
print(f"{len(truth) / 1e6:.1f} million clear pixels")
print(f"snow or not:     {agree:.1%} right")
print(
    f"snow fraction:   error {np.sqrt(np.mean((found - truth) ** 2)):.3f} rms, {np.mean(found - truth):+.3f} on average"
)

# %%
some = snow["FSCTOC"].sel(t=day).isel(t=0).values
scale = ScalarMappable(
    Normalize(1, 100), LinearSegmentedColormap.from_list("snow", [CLASSES[0][1], "#4f9bd0", "white"])
)
covered = (some >= 1) & (some <= 100)
fig, axes = plt.subplots(figsize=(6.6, 5.4), layout="constrained")
over_relief(
    axes,
    np.where(covered[..., None], scale.to_rgba(some)[..., :3], painted(some)),
    f"Fractional snow cover (FSCTOC), {day}",
)
axes.set(ylabel="km")
fig.colorbar(scale, ax=axes, label="snow cover of the pixel, %", ticks=[1, 20, 40, 60, 80, 100])

# %% [markdown]
# ## The season
#
# `snow_synthesis` sums up a winter: how many days snow lay (`SCD`), when the longest spell began (`SOD`) and ended
# (`SMOD`), how often the ground was seen (`NOBS`). Days without a clear view take the nearest observation. Chains and
# other processes mix in one graph.

# %%
START, END = "2023-10-01", "2024-07-10"
winter_graph = {
    "load": node("load_collection", id="SENTINEL2_L2A_MAJA", **everything),
    "snow": node("lis_snow", data={"from_node": "load"}),
    "season": node("snow_synthesis", data={"from_node": "snow"}, start=START, end=END, fill="snowline"),
    "save": node("save_result", data={"from_node": "season"}, format="netCDF") | {"result": True},
}
summary = xr.open_dataset(run(winter_graph, "season"), mask_and_scale=False)
days = (date.fromisoformat(END) - date.fromisoformat(START)).days + 1
scd = np.ma.masked_equal(summary["SCD"].values, 65535)
print(f"snow lay {scd.mean():.0f} of {days} days on average, {scd.max()} days at most")
print(
    f"{np.median(summary['NOBS'].values):.0f} clear observations per pixel, "
    f"{np.ma.masked_equal(summary['GAP'].values, 65535).max()} days without one at most"
)

# %%
first = date.fromisoformat(START)
months = [date(2024, m, 1) for m in (2, 3, 4, 5, 6, 7)]
melt = np.ma.masked_where(scd.filled(0) <= 10, summary["SMOD"].values)
fig, pair = plt.subplots(1, 2, figsize=(10.6, 5.0), layout="constrained")
for axes, values, scale, title, label in (
    (pair[0], scd, ScalarMappable(Normalize(0, days), "YlGnBu"), "Snow-cover duration (SCD)", "days with snow"),
    (pair[1], melt, ScalarMappable(Normalize(120, days), "plasma"), "Last day of the longest snow period (SMOD)", None),
):  # fmt: skip
    colours = scale.to_rgba(values)[..., :3]
    colours[np.ma.getmaskarray(values)] = to_rgb("#d8d8d8")
    colours[scd.mask] = to_rgb("#333333")
    over_relief(axes, colours, title)
    bar = fig.colorbar(scale, ax=axes, shrink=0.85, label=label, extend="min" if label is None else "neither")
bar.set_ticks([(m - first).days for m in months], labels=[f"{m:%-d %b %Y}" for m in months])
pair[0].set(ylabel="km")

# %% [markdown]
# From 1 October to 10 July. Light grey on the right is ground with ten days of snow or less; dark is water, which is left out.
#
# ## The snow line
#
# The snow maps lie in the workspace as products in their native layout, one GeoTIFF per layer with metadata and histogram
# beside them. Ingested, they are the collection `LIS_SNOW` like those of any other producer.
#
# `snow_line` finds, per date, the elevation that separates snow from bare ground best, and says how well it does: its
# confidence is the share of clear pixels on the right side of the line. In midwinter snow and bare ground are mixed here, for
# the snow begins in the forest, and the confidence falls below the 0.92 that the literature asks for; ask for it with
# `min_confidence` where only clean lines will do. The DEM is that of the archive. All processes are plain Python functions on
# lazy [xarray](https://xarray.dev) cubes too:

# %%
report = service.catalogue.ingest([settings.workspace_dir / "lis_snow"])
products = load_collection("LIS_SNOW", bands=["SEB"], env=service)
print(len(report.added), "snow products ingested")

line = snow_line(products, env=service).isel(geometry=0).compute()
dates = [datetime.fromisoformat(str(t)[:19]) for t in line["t"].values]
rsle, sure, clear = (line.sel(bands=b).values for b in ("RSLE", "CONFIDENCE", "CLEAR"))
print("date        snow line   confidence   clear")
for when, metres, right, share in list(zip(dates, rsle, sure, clear, strict=True))[::4]:
    told = "-" if np.isnan(metres) else f"{metres:.0f} m"
    print(f"{when:%Y-%m-%d}  {told:>9}   {right:10.2f}   {share:5.0%}")

# %%
weather = [w for _, w in season(Plan(**winter)).passes(0)]
told = [i.properties.get("lis:snow_line", np.nan) for i in service.catalogue.search("LIS_SNOW")]
valid = np.isfinite(rsle)
fig, axes = plt.subplots(figsize=(9.5, 4.8), layout="constrained")
axes.axhspan(dem.min(), dem.max(), color="#f0f0f0", label="elevations of the scene")
axes.plot(dates, [w.snow_line for w in weather], "--", color="grey", label="truth: ground is white above")
axes.plot(np.array(dates)[valid], rsle[valid], "-", color="tab:blue", lw=1, alpha=0.6)
points = axes.scatter(dates, rsle, c=sure, cmap="cividis", vmin=0.8, vmax=1, zorder=3, edgecolor="k", lw=0.4,
                      label="regional snow line (snow_line)")  # fmt: skip
axes.plot(dates, told, "x", color="tab:red", ms=5, label="in the products' metadata (lis:snow_line)")
fig.colorbar(points, ax=axes, label="confidence", extend="min")
axes.xaxis.set_major_formatter(mdates.ConciseDateFormatter(axes.xaxis.get_major_locator()))
axes.set(title="Snow line over the season", ylabel="elevation, m", ylim=(400, 3600))
axes.legend(loc="upper center", ncols=2, frameon=False, fontsize="small")

# %% [markdown]
# The red crosses are the snow lines that `lis_snow` wrote into its metadata, from which on it looks for weaker signs of
# snow: by construction some 200 m below the first slopes with a tenth of snow. Both are rough in midwinter, when forest
# hides the snow, the low sun leaves slopes in shade and clouds hide others; they are good when the snow melts.
#
# Parameters, sources and what `mode="lis"` repeats digit by digit: `GET /processes`, and `processes/lis/README.md`.
