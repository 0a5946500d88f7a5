"""The tutorial on monthly composites; see docs/notebook.py for how it becomes a page."""

# %% [markdown]
# # Monthly composite
#
# Six weeks of Sentinel-2 images, none of them free of clouds, become one image without: `wasp_synthesis`, after the
# Weighted Average Synthesis Processor of CNES and CESBIO.
#
# Every cell on this page ran when the page was built; the outputs and pictures are what it printed and drew. The images
# are synthetic, so it is known what the ground really looked like.

# %%
from datetime import date
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import rasterio
import xarray as xr
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.patches import Patch
from rich.console import Console

from backend.demo.archive import generate
from backend.graph.run import execute
from backend.local import local_env
from backend.settings import Settings
from processes.load.load_collection import load_collection

# %% [markdown]
# ## The archive
#
# Eleven acquisitions of a window of 5.4 x 5.4 km in spring, from two orbits: the land looks different from both
# (`directional`), and the swath of one of them ends inside the window. On your own archive, set `TUILE_ARCHIVE` and
# leave this cell out.

# %%
archive = Path("archive")
if not archive.exists():
    generate(
        archive, size=540, dates=11, start=date(2024, 4, 24), days=44, tiles=("31TGK",), seed=10, directional=True,
        distribution="D", bands=("B02", "B03", "B04", "B08"), sre=False, workers=1,
    )  # fmt: skip
service = local_env(Settings(archive=[archive.resolve()], data_dir=Path("index")), Console(quiet=True))
images = service.catalogue.search("SENTINEL2_L2A_MAJA")
print("date        satellite    orbit  clouds")
for image in images:
    p = image.properties
    print(f"{image.datetime:%Y-%m-%d}  {p['platform']}  {p['sat:relative_orbit']:5}  {p['eo:cloud_cover']:5.0f} %")

# %% [markdown]
# The images, smaller:


# %%
def colour(red, green, blue) -> np.ndarray:
    """True colour of reflectances (rows, columns), for the eye."""
    return np.clip(np.stack([red, green, blue], axis=-1) / 0.4, 0, 1) ** 0.6


series = load_collection("SENTINEL2_L2A_MAJA", bands=["B04", "B03", "B02"], env=service)
small = series.coarsen(y=4, x=4).mean().compute()
fig, axes = plt.subplots(3, 4, figsize=(9.6, 7.8), layout="constrained")
for one, k in zip(axes.flat, range(12), strict=True):
    one.axis("off")
    if k < small.sizes["t"]:
        one.imshow(colour(*small.isel(t=k).values))
        one.set_title(f"{small['t'].values[k]:.10}", fontsize=10)
fig.suptitle("The acquisitions of the window (white corner: outside the swath)")

# %% [markdown]
# ## The composite
#
# The process graph is what any openEO client sends; with the Python client it is
# `connection.load_collection("SENTINEL2_L2A_MAJA").process("wasp_synthesis", data=THIS, date="2024-05-15")`. Since the
# collection is only loaded, the synthesis works on whole products and writes a product of its own; asking again is free.

# %%
DAY = "2024-05-15"


def run(name: str, **parameters) -> xr.Dataset:
    """The synthesis of the archive with some parameters."""
    graph = {
        "load": {"process_id": "load_collection", "arguments": {
            "id": "SENTINEL2_L2A_MAJA", "spatial_extent": None, "temporal_extent": None}},
        "wasp": {"process_id": "wasp_synthesis", "arguments": {"data": {"from_node": "load"}, **parameters}},
        "save": {"process_id": "save_result", "arguments": {"data": {"from_node": "wasp"}, "format": "netCDF"}, "result": True},
    }  # fmt: skip
    out = Path(name)
    out.mkdir()
    (asset,) = execute({"process_graph": graph}, service, out)
    return xr.open_dataset(asset.path, mask_and_scale=False).isel(t=0)


month = run("month", date=DAY)
print("bands:", *(n for n in month.data_vars if n != "crs"))
product = next(service.workspace.rglob("*L3A*"))
print(product.name)
for file in sorted(product.rglob("*.*")):
    print("   ", str(file.relative_to(product)).replace(product.name, ""))

# %%
extent = (0, month.sizes["x"] * 0.01, 0, month.sizes["y"] * 0.01)  # km
clearest = min(images, key=lambda i: i.properties["eo:cloud_cover"]).datetime
best = series.sel(t=f"{clearest:%Y-%m-%d}").isel(t=0)
fig, (left, right) = plt.subplots(1, 2, figsize=(10, 5.3), layout="constrained")
left.imshow(colour(*best.values), extent=extent)
left.set(title=f"The least cloudy image, {clearest:%Y-%m-%d}", xlabel="km", ylabel="km")
right.imshow(colour(*(month[b].values for b in ("B04", "B03", "B02"))), extent=extent)
right.set(title=f"Composite around {DAY}", xlabel="km")

# %% [markdown]
# ## What stands behind a pixel
#
# Four layers tell: the flag (`FLG`), the mean date of what was averaged (`DTS`), its summed weight (`WGT`; a date counts
# more the clearer the air, the farther the next cloud and the nearer the synthesis date), and the number of clear dates
# (`NCL`). Land that was white at first is land seen later: its mean date is late. What was only ever seen as snow or
# water is their plain mean, without weight.
#
# Before they are averaged the dates are levelled to each other (`level`): what the aerosol correction left in one of them
# would show as a step wherever it begins to count. And each fades in over 120 m from clouds and from the edge of its swath.

# %%
flag, weight, clear = (month[n].values for n in ("FLG", "WGT", "NCL"))
shift = month["DTS"].values - (date.fromisoformat(DAY) - date(2000, 1, 1)).days
FLAGS = {0: ("no data", "#333333"), 1: ("cloud or shadow", "#8596ba"), 2: ("snow", "#ffffff"), 3: ("water", "#3b78c4"),
         4: ("land", "#9aa86a")}  # fmt: skip
for code, (name, _) in FLAGS.items():
    print(f"{name:16} {np.mean(flag == code):6.1%}")

# %%
fig, axes = plt.subplots(2, 2, figsize=(10, 9), layout="constrained")
(one, two), (three, four) = axes
one.imshow(flag, extent=extent, cmap=ListedColormap([c for _, c in FLAGS.values()]), vmin=-0.5, vmax=4.5)
handles = [Patch(facecolor=c, edgecolor="grey", label=n) for k, (n, c) in FLAGS.items() if (flag == k).any()]
one.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=4, frameon=False, fontsize="small")
one.set_title("What the pixel is (FLG)")
reach = np.nanmax(np.abs(shift[flag > 0]))
mesh = two.imshow(np.ma.masked_where(flag == 0, shift), extent=extent, cmap="RdBu_r", vmin=-reach, vmax=reach)
fig.colorbar(mesh, ax=two, label=f"days from {DAY}")
two.set_title("Mean date of the observations (DTS)")
mesh = three.imshow(np.ma.masked_where(flag == 0, weight), extent=extent, cmap="viridis", vmin=0)
fig.colorbar(mesh, ax=three, label="sum of weights")
three.set_title("Weight (WGT)")
steps = np.arange(-0.5, clear.max() + 1)
mesh = four.imshow(clear, extent=extent, cmap="magma", norm=BoundaryNorm(steps, 256))
fig.colorbar(mesh, ax=four, label="clear dates", ticks=range(int(clear.max()) + 1))
four.set_title("Number of clear dates (NCL)")
for panel in axes.flat:
    panel.set(xlabel="km", ylabel="km")

# %% [markdown]
# ## Is it right?
#
# The generator knows the reflectance of the bare ground on every date, seen from above. The composite is compared with
# the mean of that over the dates, where snow never lay; beside it the same composite without directional correction,
# and the plain median of the observations that the masks call clear.

# %%
bands = ("B02", "B03", "B04", "B08")
ground, bare = [], np.ones(flag.shape, bool)
for folder in sorted((archive / "truth" / "T31TGK").glob("2*")):
    with rasterio.open(folder / "reflectance_10m.tif") as source:
        ground.append(source.read([source.descriptions.index(b) + 1 for b in bands]) * np.float32(1e-4))
    with rasterio.open(folder / "snow_fraction.tif") as source:
        bare &= source.read(1) == 0
ground = np.mean(ground, axis=0)

observed = load_collection("SENTINEL2_L2A_MAJA", bands=[*bands, "CLOUD", "CLOUD_SHADOW"], env=service).compute()
hidden = (observed.sel(bands=["CLOUD", "CLOUD_SHADOW"]) == 1).any("bands")
rivals = {
    "composite": month,
    "no directional correction": run("plain", date=DAY, brdf="none"),
    "median of the clear": {b: observed.sel(bands=b).where(~hidden).median("t") for b in bands},
}
used = (flag == 4) & (clear >= 2) & bare
print(f"root mean square error over {used.mean():.0%} of the pixels: land, two clear dates or more, no snow")
print("     ", *(f"{name:>26}" for name in rivals))
for k, band in enumerate(bands):
    errors = [np.sqrt(np.nanmean((image[band].values - ground[k])[used] ** 2)) for image in rivals.values()]
    print(f"{band}  ", *(f"{error:26.4f}" for error in errors))

# %% [markdown]
# A list of dates makes a series in one request: `date=["2024-05-01", "2024-06-01", ...]`, each with its own window of
# `half_window` days on either side. The products can be ingested as the collection `SENTINEL2_L3A_WASP`.
#
# Parameters, sources and what `mode="wasp1"` repeats of WASP 1.0: `GET /processes`, and `processes/wasp/README.md`.
