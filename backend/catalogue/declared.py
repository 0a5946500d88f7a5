"""What is known of each collection before any product is seen. Everything else comes from the index."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

THEIA = {"name": "Theia", "roles": ["processor", "host"], "url": "https://www.theia-land.fr"}
CNES = {"name": "CNES", "roles": ["processor"], "url": "https://cnes.fr"}
ESA = {"name": "ESA", "roles": ["producer", "licensor"], "url": "https://sentinels.copernicus.eu"}
USGS = {"name": "USGS", "roles": ["producer", "licensor"], "url": "https://www.usgs.gov"}
COPERNICUS = {
    "rel": "license",
    "href": "https://sentinels.copernicus.eu/documents/247904/690755/Sentinel_Data_Legal_Notice",
    "title": "Legal notice on the use of Copernicus Sentinel data",
}
ETALAB = {
    "rel": "license",
    "href": "https://www.etalab.gouv.fr/licence-ouverte-open-licence",
    "title": "Etalab open licence 2.0",
}


@dataclass(frozen=True)
class Declared:
    """Title, description and terms of a collection."""

    title: str
    description: str
    license: str = "other"
    providers: tuple[dict[str, Any], ...] = ()
    keywords: tuple[str, ...] = ()
    links: tuple[dict[str, Any], ...] = field(default=())


_MASKS = (
    " Masks come raw and as uniform bands with the values 0 and 1: CLOUD, CLOUD_SHADOW, CIRRUS, SNOW, WATER, and VALID "
    "where the sensor saw the ground."
)
_LANDSAT_ANGLES = (
    " SZA, SAA, VZA and VAA are sun and view angles in degrees: as the product's own rasters have them, else the sun at the "
    "middle of the scene and the view from the place in the swath (zenith good to about 0.2 degrees)."
)
_ANGLES = " SZA, SAA, VZA and VAA are sun and view angles in degrees, azimuths clockwise from north."

COLLECTIONS: dict[str, Declared] = {
    "SENTINEL2_L1C": Declared(
        "Sentinel-2 L1C",
        "Top-of-atmosphere reflectance of Sentinel-2 MSI in thirteen bands, ortho-rectified on MGRS tiles. Radiometric "
        "offsets of newer processing baselines are applied, so values of all baselines compare." + _MASKS + _ANGLES,
        providers=(ESA,), keywords=("Sentinel-2", "MSI", "L1C", "top of atmosphere"), links=(COPERNICUS,),
    ),
    "SENTINEL2_L2A": Declared(
        "Sentinel-2 L2A (Sen2Cor)",
        "Surface reflectance of Sentinel-2 MSI as ESA corrects it with Sen2Cor, with the scene classification SCL, "
        "aerosol optical thickness AOT and water vapour WVC (g/cm2). Offsets of newer baselines are applied." + _MASKS + _ANGLES,
        providers=(ESA,), keywords=("Sentinel-2", "MSI", "L2A", "surface reflectance"), links=(COPERNICUS,),
    ),
    "SENTINEL2_L2A_MAJA": Declared(
        "Sentinel-2 L2A (MAJA, Theia)",
        "Surface reflectance of Sentinel-2 MSI corrected by MAJA with multi-temporal cloud and aerosol detection. Bands "
        "B02 to B12 include the slope correction (FRE); SRE_B02 to SRE_B12 are without it. AOT is aerosol optical "
        "thickness, WVC water vapour (g/cm2)." + _MASKS + _ANGLES,
        license="etalab-2.0", providers=(THEIA, CNES), keywords=("Sentinel-2", "MAJA", "MUSCATE", "L2A", "surface reflectance"), links=(ETALAB,),
    ),
    "SENTINEL2_L3A_WASP": Declared(
        "Sentinel-2 L3A monthly syntheses (WASP)",
        "Cloud-free surface reflectance over about 45 days: the weighted mean of the clear observations, with FLG (0 "
        "nodata, 1 cloud, 2 snow, 3 water, 4 land), WGT the total weight and DTS the mean date; NCL, the number of clear dates, where Tuile made them.",
        license="etalab-2.0", providers=(THEIA, CNES), keywords=("Sentinel-2", "WASP", "L3A", "synthesis"), links=(ETALAB,),
    ),
    "LANDSAT8_L2A_THEIA": Declared(
        "Landsat-8 L2A (Theia)",
        "Surface reflectance of Landsat-8 OLI over France as Theia corrects it, in its original tiling and in MUSCATE format." + _MASKS,
        license="etalab-2.0", providers=(THEIA, CNES, USGS), keywords=("Landsat-8", "OLI", "L2A", "N2A"), links=(ETALAB,),
    ),
    "LANDSAT_L1": Declared(
        "Landsat L1TP",
        "Top-of-atmosphere reflectance of Landsat collection 1 and 2 level-1 products, rescaled as their metadata say and "
        "divided by the sine of the sun's elevation; thermal bands as radiance (W/m2/sr/um)." + _MASKS + _LANDSAT_ANGLES,
        license="CC0-1.0", providers=(USGS,), keywords=("Landsat", "OLI", "TIRS", "L1TP", "top of atmosphere"),
    ),
    "LANDSAT_L2": Declared(
        "Landsat L2SP",
        "Surface reflectance and surface temperature (K) of Landsat collection 2 level-2 science products." + _MASKS + _LANDSAT_ANGLES,
        license="CC0-1.0", providers=(USGS,), keywords=("Landsat", "OLI", "TIRS", "L2SP", "surface reflectance"),
    ),
    "VENUS_L2A": Declared(
        "VENuS L2A (MAJA, Theia)",
        "Surface reflectance of VENuS in twelve visible and near-infrared bands at 5 or 10 m, every two days over selected "
        "sites. B02 and the like include the slope correction (FRE), SRE_B02 is without it." + _MASKS,
        license="etalab-2.0", providers=(THEIA, CNES), keywords=("VENuS", "MAJA", "MUSCATE", "L2A"), links=(ETALAB,),
    ),
    "SPOT_TAKE5_L2A": Declared(
        "SPOT Take5 L2A",
        "Surface reflectance of the Take5 experiments of SPOT-4 (2013) and SPOT-5 (2015): every five days over selected sites." + _MASKS,
        license="etalab-2.0", providers=(THEIA, CNES), keywords=("SPOT-4", "SPOT-5", "Take5", "L2A"), links=(ETALAB,),
    ),
    "LIS_SNOW": Declared(
        "Snow cover (LIS)",
        "Snow detected by Let-it-snow. SEB: 0 no snow, 100 snow, 205 cloud or cloud shadow, 255 nodata; FSCTOC and FSCOG "
        "are fractional snow cover at the top of the canopy and on the ground in percent with the same codes above 100.",
        license="etalab-2.0", providers=(THEIA, CNES), keywords=("snow", "LIS", "fractional snow cover"), links=(ETALAB,),
    ),
    "DEM": Declared("Elevation", "Digital elevation models of the archive, metres above the geoid of their source.", keywords=("elevation", "DEM")),
    "TCD": Declared("Tree cover density", "Share of the ground covered by tree crowns, percent.", keywords=("tree cover", "forest")),
    "WATER": Declared("Water mask", "Permanent water: 1 where the ground is covered by water.", keywords=("water",)),
}  # fmt: skip


def declared(collection_id: str) -> Declared:
    """Declaration of a collection; a plain one for collections the archive's owner named."""
    found = COLLECTIONS.get(collection_id)
    return found or Declared(collection_id, f"Products of the archive filed under {collection_id}.", license="other")
