"""Parameters of the snow detection and how each sensor stores what it needs.

Sources: Gascoin et al. 2019 (Earth Syst. Sci. Data 11, 493-514) for the method and its thresholds, Gascoin et al. 2020
(Remote Sensing 12, 2904) for the fractional snow cover, the public description of let-it-snow 1.11 for the defaults.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from processes.errors import parameter_invalid

NODATA = -10000  # of the reflectance bands, in digital numbers
NO_SNOW, SNOW, CLOUD, FILL = 0, 100, 205, 255
MODES = ("plus", "lis")

# bits of a decoded cloud raster (`cloud_table`)
C_ALL, C_SHADOW, C_HIGH, C_RAW = 1, 2, 4, 8
# bits of a decoded geophysical mask (`geo_table`)
G_SUN_LOW, G_SUN_TANGENT, G_WATER, G_SLOPE = 1, 2, 4, 8


@dataclass(frozen=True)
class Params:
    """Thresholds; reflectances in milli-reflectance (1000 = 1.0), elevations in metres.

    Attributes
    ----------
    dz : height of an elevation bin of the snow-line search
    ndsi_pass1, red_pass1, ndsi_pass2, red_pass2 : a pixel is snow above both, in pass 1 and pass 2
    fsnow_lim, fclear_lim : least snow share (of clear) and clear share (of all) of the snow line's bin
    fsnow_total_lim : least snow share of the scene for pass 2 to run; -1 runs it always
    red_darkcloud : coarse red above which a cloud is too bright to look through
    red_backtocloud : red above which a cloud pixel that is not snow stays cloud
    rf : pixels per coarse cell; None takes the sensor's
    strict_cloud_mask : True leaves ``back to cloud`` pixels cloud even where they are snow
    rm_snow_inside_cloud, rm_radius, rm_cloud_share, rm_min_area : pass 1.5 (pixels, share, pixels)
    shaded_snow : look for snow in relief shade
    shaded_difference : least blue - NIR in relief shade, reflectance x 10000; in mode ``lis`` **digital numbers** of whatever
        scale the sensor has, as the original takes it
    hillshade_lim : cos(incidence) under which a slope counts as self-shaded (``relief="incidence"``)
    fsc : ``tanh`` (Gascoin 2020), ``unmix`` (linear mixing by NDSI between the scene's own end-members) or ``auto``
        (`processes.lis.mixture`: NDSI and brightness together); mode ``lis`` always takes ``tanh``
    seb_fraction : snow share from which SEB says snow; None: any snow (mode ``lis``); 0.5, falling to 0.3 far above the snow
        line, where little is mixed and snow is dirty rather than thin (mode ``plus``)
    ice : True calls bare glacier ice and bright water "no snow" (mode ``plus``; needs a blue and a NIR band)
    snow_line : a snow-line elevation to use instead of searching one
    local_snow_line : regional snow line per neighbourhood (Krajci et al. 2014); mode ``plus`` only
    """

    dz: float = 100.0
    ndsi_pass1: float = 0.4
    red_pass1: float = 200.0
    ndsi_pass2: float = 0.15
    red_pass2: float = 40.0
    fsnow_lim: float = 0.1
    fclear_lim: float = 0.1
    fsnow_total_lim: float = 0.001
    red_darkcloud: float = 300.0
    red_backtocloud: float = 100.0
    rf: int | None = None
    strict_cloud_mask: bool = False
    rm_snow_inside_cloud: bool = False
    rm_radius: int = 5
    rm_cloud_share: float = 0.85
    rm_min_area: int = 25000
    shaded_snow: bool = True
    shaded_difference: float = 160.0
    hillshade_lim: float = 0.2
    fsc: str = "auto"
    seb_fraction: float | None = None
    ice: bool = False
    snow_line: float | None = None
    local_snow_line: bool = True

    @classmethod
    def of(cls, values: Mapping[str, Any] | None) -> Params:
        """From a user's mapping. Raises ``ProcessParameterInvalid`` for names and values that make no sense."""
        given = dict(values or {})
        known = {f.name: f for f in fields(cls)}
        if unknown := sorted(set(given) - set(known)):
            raise parameter_invalid("params", f"unknown {', '.join(unknown)}; known are {', '.join(sorted(known))}.")
        for name, value in given.items():
            default = known[name].default
            if isinstance(default, bool):
                ok = isinstance(value, bool)
            elif name == "fsc":
                ok = value in ("auto", "tanh", "unmix")
            elif value is None:
                ok = default is None
            else:
                ok = isinstance(value, (int, float)) and not isinstance(value, bool) and bool(np.isfinite(value))
            if not ok:
                raise parameter_invalid("params", f"'{name}' cannot be {value!r}.")
        params = cls(**given)
        if params.dz <= 0 or (params.rf is not None and params.rf < 1):
            raise parameter_invalid("params", "'dz' must be above 0 and 'rf' at least 1.")
        return params

    def for_sensor(self, sensor: Sensor) -> Params:
        return self if self.rf is not None else replace(self, rf=sensor.rf)


@dataclass(frozen=True)
class Sensor:
    """How one family of Level-2A products is laid out.

    Attributes
    ----------
    id : name to give as ``sensor``
    bands : role -> names it may have (openEO band names first, then those of the products)
    multi : digital numbers per milli-reflectance
    rf : pixels per coarse cell
    cloud : names of the cloud raster, first one found is taken
    all_any, all_equal : a pixel is cloud where any of the bits is set, or all of them are; 0 ignores
    all_values, shadow_values, high_values : codes that mean so (classified rasters such as Sen2Cor's SCL)
    shadow_in, shadow_out, high, high_equal : bits of the shadow and high-cloud flags (all of a mask must be set)
    slope : least value of the geophysical raster that flags a slope; 0 for none
    geo : names of the geophysical raster
    fractional : whether fractional snow cover is defined for the sensor
    shaded : role -> names of the bands that only shaded snow and the ice option need
    pixel : size of a pixel of the target grid, metres
    """

    id: str
    bands: Mapping[str, tuple[str, ...]]
    multi: int
    rf: int
    cloud: tuple[str, ...]
    all_any: int = 0xFFFF
    all_equal: int = 0
    all_values: tuple[int, ...] = ()
    shadow_values: tuple[int, ...] = ()
    high_values: tuple[int, ...] = ()
    shadow_in: int = 0
    shadow_out: int = 0
    high: int = 0
    slope: int = 0
    geo: tuple[str, ...] = ("MG2_R2", "MG2")
    fractional: bool = True
    shaded: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    pixel: float = 20.0


_S2 = {"green": ("B03",), "red": ("B04",), "swir": ("B11",)}
_S2_SHADED = {"blue": ("SRE_B02", "B02"), "nir": ("SRE_B8A", "B8A")}
_L8 = {
    "green": ("B03", "SR_B3", "sr_band3", "B3"),
    "red": ("B04", "SR_B4", "sr_band4", "B4"),
    "swir": ("B06", "SR_B6", "sr_band6", "B6"),
}
_L8_SHADED = {"blue": ("SRE_B02", "B02", "SR_B2", "B2"), "nir": ("SRE_B05", "B05", "SR_B5", "B5")}
_TAKE5 = {"green": ("B01", "XS1", "B1"), "red": ("B02", "XS2", "B2"), "swir": ("B04", "SWIR", "B4")}

SENSORS: dict[str, Sensor] = {
    s.id: s
    for s in (
        Sensor(
            "s2_muscate",
            _S2,
            10,
            12,
            ("CLM_R2", "CLM"),
            shadow_in=32,
            shadow_out=64,
            high=128,
            slope=64,
            shaded=_S2_SHADED,
        ),
        Sensor("s2_maja_native", _S2, 10, 12, ("CLD_R2", "CLD", "CLM_R2", "CLM"), shadow_in=4, shadow_out=8, high=128),
        Sensor(
            "s2_sen2cor",
            _S2,
            10,
            12,
            ("SCL",),
            all_any=0,
            all_values=(3, 8, 9, 10),
            shadow_values=(3,),
            high_values=(10,),
            shaded={"blue": ("B02",), "nir": ("B8A",)},
        ),
        Sensor(
            "l8_muscate",
            _L8,
            1,
            8,
            ("CLM",),
            shadow_in=32,
            shadow_out=64,
            high=128,
            slope=64,
            fractional=False,
            pixel=30.0,
            shaded=_L8_SHADED,
        ),
        Sensor(
            "l8_muscate_old",
            {"green": ("B03", "B3"), "red": ("B04", "B4"), "swir": ("B06", "B6")},
            1,
            8,
            ("NUA", "CLM"),
            shadow_in=64,
            shadow_out=128,
            high=32,
            slope=8,
            geo=("DIV", "MG2"),
            fractional=False,
            pixel=30.0,
            shaded={"blue": ("B02", "B2"), "nir": ("B05", "B5")},
        ),
        Sensor(
            "l8_lasrc",  # collection 1
            _L8,
            10,
            8,
            ("pixel_qa", "PIXEL_QA"),
            all_any=0,
            all_equal=224,
            shadow_in=8,
            high=800,
            fractional=False,
            pixel=30.0,
            shaded={"blue": _L8_SHADED["blue"], "nir": _L8_SHADED["nir"]},
        ),
        Sensor(
            "l8_c2",  # Landsat collection 2: dilated cloud, cirrus, cloud, shadow are bits 1 to 4
            _L8,
            10,
            8,
            ("QA_PIXEL",),
            all_any=0b11110,
            shadow_in=16,
            high=4,
            fractional=False,
            pixel=30.0,
            shaded={"blue": _L8_SHADED["blue"], "nir": _L8_SHADED["nir"]},
        ),
        Sensor(
            "take5",
            _TAKE5,
            1,
            8,
            ("NUA", "CLM"),
            shadow_in=64,
            shadow_out=128,
            high=32,
            slope=8,
            geo=("DIV", "MG2"),
            fractional=False,
            pixel=20.0,
        ),
    )
}


# centre wavelengths (um) that a band must have for its role, where they are known
ROLES = {"green": (0.51, 0.60), "red": (0.61, 0.70), "swir": (1.50, 1.76), "blue": (0.44, 0.52), "nir": (0.75, 0.92)}
NO_SWIR = (
    "LIS needs a short-wave infrared band near 1.6 um, which tells snow from clouds and bare ground; VENuS has none "
    "(its B11 is near infrared)."
)


def sensor_of(name: str) -> Sensor:
    """The sensor ``name``. Raises ``ProcessParameterInvalid``."""
    if name not in SENSORS:
        why = f"{NO_SWIR} Sensors: " if "ven" in name.lower() else f"'{name}' is unknown; use one of "
        raise parameter_invalid("sensor", f"{why}{', '.join(SENSORS)} or auto.")
    return SENSORS[name]


def roles_of(sensor: Sensor, names: Iterable[str], wavelengths: Mapping[str, float | None]) -> dict[str, str] | None:
    """Band of each role a sensor needs among ``names``; None where one is missing or has another wavelength (um)."""
    have = set(names)
    out = {}
    for role, options in sensor.bands.items():
        low, high = ROLES[role]
        fits = (n for n in options if n in have and low <= (wavelengths.get(n) or low) <= high)
        if (found := next(fits, None)) is None:
            return None
        out[role] = found
    return out


def guess_sensor(names: Iterable[str], wavelengths: Mapping[str, float | None] | None = None) -> Sensor:
    """The sensor whose bands and masks are among ``names``; the uniform 0/1 masks serve any sensor.

    ``wavelengths`` (um, by band) keep sensors apart that number their bands alike: B11 is short-wave infrared on
    Sentinel-2, thermal on Landsat-8 and near infrared on VENuS. Raises ``ProcessParameterInvalid`` where none fits,
    telling what is missing.
    """
    have, centres = set(names), wavelengths or {}
    fits = [s for s in SENSORS.values() if roles_of(s, have, centres)]
    for sensor in fits:
        if have & set(sensor.cloud):
            return sensor
    for sensor in fits:
        if "CLOUD" in have:
            return sensor
    wanted = "; ".join(f"{s.id}: {', '.join(o[0] for o in (*s.bands.values(), s.cloud))}" for s in SENSORS.values())
    known = [w for n in have if (w := centres.get(n))]
    low, high = ROLES["swir"]
    why = f"{NO_SWIR} " if known and not any(low <= w <= high for w in known) else ""
    raise parameter_invalid(
        "data", f"the bands {', '.join(sorted(have))} are those of no sensor known here. {why}Load one of {wanted}."
    )


def with_uniform_masks(sensor: Sensor) -> Sensor:
    """The sensor with the bits that the 0/1 masks are turned into (`processes.lis.cubes.UNIFORM`): those of MUSCATE."""
    return replace(
        sensor, all_any=0xFFFF, all_equal=0, all_values=(), shadow_values=(), high_values=(), shadow_in=32, shadow_out=64,
        high=128,
    )  # fmt: skip


def in_bit_order(sensor: Sensor, order: str | None) -> Sensor:
    """The sensor for a CLM raster in the order of the native MAJA writer (``C``); as it is for Theia's (``D``, None)."""
    if order != "C" or not sensor.id.endswith("_muscate"):
        return sensor
    if sensor.id == "s2_muscate":
        return SENSORS["s2_maja_native"]
    return replace(sensor, shadow_in=4, shadow_out=8)


def _size(dtype: Any) -> int:
    return 256 if np.dtype(dtype).itemsize == 1 else 65536


def cloud_table(sensor: Sensor, dtype: Any) -> np.ndarray:
    """Cloud raster value -> `C_ALL` | `C_SHADOW` | `C_HIGH` | `C_RAW`: uint8, one entry per value of ``dtype``.

    A mask of several bits counts as set where all of them are.
    """
    v = np.arange(_size(dtype))
    clouds = np.zeros(v.shape, bool)
    if sensor.all_any:
        clouds |= (v & sensor.all_any) != 0
    if sensor.all_equal:
        clouds |= (v & sensor.all_equal) == sensor.all_equal
    clouds |= np.isin(v, sensor.all_values)
    shadow, high = np.isin(v, sensor.shadow_values), np.isin(v, sensor.high_values)
    for mask in (sensor.shadow_in, sensor.shadow_out):
        if mask:
            shadow |= (v & mask) == mask
    if sensor.high:
        high |= (v & sensor.high) == sensor.high
    # "something flagged": any value of a pure cloud mask, the clouds of a raster that tells other things too
    raw = v > 0 if sensor.all_any == 0xFFFF else clouds | shadow | high
    return (clouds * C_ALL | shadow * C_SHADOW | high * C_HIGH | raw * C_RAW).astype(np.uint8)


def geo_table(sensor: Sensor, dtype: Any) -> np.ndarray:
    """Geophysical raster value -> `G_SUN_LOW` | `G_SUN_TANGENT` | `G_WATER` | `G_SLOPE`: uint8."""
    v = np.arange(_size(dtype))
    if not sensor.geo[0].startswith("MG2"):  # the old DIV raster has no sun and water bits
        return ((v >= sensor.slope) * G_SLOPE).astype(np.uint8) if sensor.slope else np.zeros(v.shape, np.uint8)
    slope = v >= sensor.slope if sensor.slope else np.zeros(v.shape, bool)
    bits = ((v & 64) > 0) * G_SUN_LOW | ((v & 128) > 0) * G_SUN_TANGENT | ((v & 1) > 0) * G_WATER | slope * G_SLOPE
    return bits.astype(np.uint8)
