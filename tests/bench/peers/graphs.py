"""The workloads as openEO process graphs: what is sent to Tuile, and evaluated by openeo-processes-dask."""

from __future__ import annotations

COLLECTION = "SENTINEL2_L2A_MAJA"


def ref(node):
    return {"from_node": node}


def node(process_id, result=False, /, **arguments):
    return {"process_id": process_id, "arguments": arguments, **({"result": True} if result else {})}


def reducer(process):
    return {"process_graph": {"r": node(process, True, data={"from_parameter": "data"})}}


def load(bands, interval):
    return node("load_collection", id=COLLECTION, spatial_extent=None, temporal_extent=interval, bands=list(bands))


def composite(spec):
    """W1: NDVI, clouds masked, median over time."""
    element = node("array_element", data={"from_parameter": "data"}, index=0)
    cloudy = {"process_graph": {"a": element, "e": node("eq", True, x=ref("a"), y=1)}}
    return {
        "load": load(["B04", "B08"], spec["interval"]),
        "clouds": load(["CLOUD"], spec["interval"]),
        "cloudy": node("reduce_dimension", data=ref("clouds"), dimension="bands", reducer=cloudy),
        "clear": node("mask", data=ref("load"), mask=ref("cloudy")),
        "ndvi": node("ndvi", data=ref("clear"), nir="B08", red="B04"),
        "median": node("reduce_dimension", data=ref("ndvi"), dimension="t", reducer=reducer("median")),
        "save": node("save_result", True, data=ref("median"), format="COG", options={"level": 1}),
    }


def monthly(spec):
    """W2: mean per month of four bands, netCDF without compression (xarray's default)."""
    return {
        "load": load(spec["w2_bands"], spec["interval"]),
        "mean": node("aggregate_temporal_period", data=ref("load"), period="month", reducer=reducer("mean")),
        "save": node("save_result", True, data=ref("mean"), format="netCDF", options={"level": 0}),
    }


def zonal(spec):
    """W3: mean of each polygon, date and band."""
    features = [
        {"type": "Feature", "properties": {"n": k}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
        for k, ring in enumerate(spec["polygons_wgs84"])
    ]
    return {
        "load": load(spec["w3_bands"], spec["interval"]),
        "zones": node("aggregate_spatial", data=ref("load"), reducer=reducer("mean"),
                      geometries={"type": "FeatureCollection", "features": features}),
        "save": node("save_result", True, data=ref("zones"), format="JSON"),
    }  # fmt: skip


def preview(spec):
    """W4: the whole tile of one date in 512 pixels, true colours."""
    scale = node(
        "linear_scale_range", True, x={"from_parameter": "x"}, inputMin=0, inputMax=0.3, outputMin=0, outputMax=255
    )
    step = spec["size"] * spec["resolution"] / spec["preview"]
    return {
        "load": load(["B04", "B03", "B02"], spec["last_day"]),
        "small": node("resample_spatial", data=ref("load"), resolution=step, method="near"),
        "scaled": node("apply", data=ref("small"), process={"process_graph": {"s": scale}}),
        "save": node("save_result", True, data=ref("scaled"), format="PNG"),
    }


GRAPHS = {"W1": composite, "W2": monthly, "W3": zonal, "W4": preview}
