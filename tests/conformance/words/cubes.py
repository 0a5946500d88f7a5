"""Words for processes on cubes, collections, files and STAC."""

_KEEPS = " Everything else of the cube stays as it is."

CUBES: dict[str, tuple[str, str, str]] = {
    # in and out
    "load_collection": (
        "Load a collection",
        "Opens a collection of this service as a cube, limited to the extents, bands and properties asked for. Pixels are read "
        "only when a result needs them.",
        "The cube.",
    ),
    "load_stac": (
        "Load from STAC",
        "Opens a STAC item, collection, API or a result of an openEO job as a cube, limited to the extents, bands and "
        "properties asked for.",
        "The cube.",
    ),
    "load_geojson": (
        "Make a vector cube of GeoJSON",
        "Turns GeoJSON into a vector cube; chosen properties become its values.",
        "The vector cube.",
    ),
    "load_uploaded_files": ("Load own files", "Opens files of the user's own storage as a cube.", "The cube."),
    "load_url": ("Load a file behind a URL", "Opens a file from the web as a cube.", "The cube."),
    "save_result": (
        "Write a result",
        "Writes the cube in a file format that this service offers.",
        "STAC metadata of what was written.",
    ),
    "export_collection": (
        "Publish results as a collection",
        "Makes STAC results available as a collection of this service.",
        "The collection's id.",
    ),
    "export_workspace": (
        "Copy results to a workspace",
        "Copies STAC results into a workspace of the user.",
        "STAC metadata with the new locations.",
    ),
    "stac_modify": (
        "Change STAC metadata",
        "Merges changes into the metadata of results; files stay untouched.",
        "The changed STAC metadata.",
    ),
    "create_data_cube": (
        "Empty cube",
        "A cube without dimensions and values, to be filled by `add_dimension`.",
        "The empty cube.",
    ),
    # dimensions and labels
    "add_dimension": (
        "Add a dimension",
        "Adds a dimension with a single label." + _KEEPS,
        "The cube with one more dimension.",
    ),
    "drop_dimension": (
        "Remove a dimension",
        "Removes a dimension that has no more than one label." + _KEEPS,
        "The cube with one dimension less.",
    ),
    "rename_dimension": (
        "Rename a dimension",
        "Gives a dimension another name." + _KEEPS,
        "The cube with the new name.",
    ),
    "rename_labels": (
        "Rename labels",
        "Replaces labels of a dimension: those listed in `source`, otherwise the first ones in order." + _KEEPS,
        "The cube with the new labels.",
    ),
    "dimension_labels": ("Labels of a dimension", "Lists the labels of a dimension in their order.", "The labels."),
    "flatten_dimensions": (
        "Make one dimension of several",
        "Combines dimensions into one whose labels are the joined labels; the last dimension given varies fastest.",
        "The cube with fewer dimensions.",
    ),
    "unflatten_dimension": (
        "Make several dimensions of one",
        "Splits a dimension whose labels are joined labels; combinations that are missing become nodata.",
        "The cube with more dimensions.",
    ),
    "trim_cube": (
        "Cut off nodata edges",
        "Drops labels at the edges of the cube under which there is nothing but nodata.",
        "The trimmed cube.",
    ),
    # filters
    "filter_bands": (
        "Keep some bands",
        "Keeps bands by name, common name or wavelength, in the order asked for: names first, then wavelengths.",
        "The cube with the chosen bands.",
    ),
    "filter_bbox": (
        "Keep a bounding box",
        "Keeps pixels whose centre, or geometries whose whole body, lies in the box.",
        "The smaller cube.",
    ),
    "filter_spatial": (
        "Keep what geometries cover",
        "Crops to the extent of the geometries and sets pixels whose centre is outside all of them to nodata.",
        "The smaller cube.",
    ),
    "filter_temporal": (
        "Keep an interval",
        "Keeps labels from the start (included) to the end (excluded) of the interval.",
        "The cube with fewer dates.",
    ),
    "filter_labels": (
        "Keep some labels",
        "Keeps the labels of a dimension for which `condition` is true.",
        "The cube with fewer labels.",
    ),
    "filter_vector": (
        "Keep some geometries",
        "Keeps geometries that stand in the given relation to any of those given.",
        "The vector cube with fewer geometries.",
    ),
    # callbacks
    "apply": (
        "Run a process on each value",
        "Calls `process` on every value of the cube; size and labels stay.",
        "The cube with the new values.",
    ),
    "apply_dimension": (
        "Run a process along a dimension",
        "Calls `process` on every array along a dimension. Its length may change; new labels are numbered unless the length stays. In a target dimension of several labels, what is computed for each label follows one another, numbered.",
        "The cube with the new values.",
    ),
    "apply_neighborhood": (
        "Run a process on windows",
        "Cuts the cube into windows, with overlap if asked, calls `process` on each and puts the results together.",
        "The cube with the new values.",
    ),
    "apply_polygon": (
        "Run a process inside polygons",
        "Calls `process` on the part of the cube in each polygon; pixels of the part outside its polygon hold the mask value.",
        "The cube with the new values inside the polygons.",
    ),
    "apply_kernel": (
        "Spatial convolution",
        "Weights the neighbours of every pixel with a kernel, sums them up and multiplies by a factor, per band and date.",
        "The filtered cube.",
    ),
    "reduce_dimension": (
        "Reduce a dimension",
        "Calls `reducer` on every array along a dimension; the dimension vanishes.",
        "The cube with one dimension less.",
    ),
    "reduce_spatial": (
        "Reduce space",
        "Calls `reducer` once on all pixels of x and y together; both dimensions vanish.",
        "The cube without x and y.",
    ),
    # aggregation
    "aggregate_spatial": (
        "Statistics of zones",
        "Calls `reducer` on the pixels whose centre lies in each polygon (for lines and points: the pixels they touch).",
        "A vector cube: one geometry per zone.",
    ),
    "aggregate_spatial_window": (
        "Statistics of pixel windows",
        "Calls `reducer` on blocks of pixels of a fixed size, one new pixel per block.",
        "The coarser cube.",
    ),
    "aggregate_temporal": (
        "Statistics of intervals",
        "Calls `reducer` on the dates within each half-open interval; intervals may overlap.",
        "The cube with one label per interval.",
    ),
    "aggregate_temporal_period": (
        "Statistics of calendar periods",
        "Calls `reducer` on the dates of each hour, day, week, dekad, month, season, year or decade.",
        "The cube with one label per period.",
    ),
    "climatological_normal": (
        "Climatological normals",
        "Mean of the same calendar period over the years of a reference period.",
        "The cube with one label per calendar period.",
    ),
    "anomaly": (
        "Anomalies",
        "Difference of each value and the normal of its calendar period.",
        "The cube of differences.",
    ),
    # combination and masks
    "merge_cubes": (
        "Merge two cubes",
        "Joins cubes along labels that differ; where both have the same labels, `overlap_resolver` decides. A dimension that one "
        "cube lacks is broadcast.",
        "The merged cube.",
    ),
    "mask": (
        "Replace pixels by a mask",
        "Replaces values where the mask is true or not zero; a missing dimension of the mask is broadcast.",
        "The masked cube.",
    ),
    "mask_polygon": (
        "Replace pixels by polygons",
        "Replaces pixels whose centre is outside all polygons, or inside if asked.",
        "The masked cube.",
    ),
    "ndvi": (
        "Vegetation index NDVI",
        "Computes (nir - red) / (nir + red). Without `target_band` the band dimension vanishes, with it a band is added.",
        "The index.",
    ),
    # grids and time axes
    "resample_cube_spatial": (
        "Put a cube on another's grid",
        "Resamples x and y to the grid and CRS of the target cube.",
        "The resampled cube.",
    ),
    "resample_cube_temporal": (
        "Put a cube on another's dates",
        "Takes for every date of the target cube the nearest date of this one.",
        "The resampled cube.",
    ),
    "resample_spatial": (
        "Change resolution or CRS",
        "Resamples x and y to a resolution and a coordinate reference system.",
        "The resampled cube.",
    ),
    # curves
    "predict_curve": (
        "Values of a fitted function",
        "Evaluates `function` with parameters from `fit_curve` at the labels of a dimension.",
        "The cube of predicted values.",
    ),
    # optical and radar preprocessing
    "ard_surface_reflectance": (
        "Surface reflectance ready for analysis",
        "Corrects optical data for the atmosphere and masks clouds in one step.",
        "The corrected cube.",
    ),
    "ard_normalized_radar_backscatter": (
        "Radar backscatter ready for analysis",
        "Computes terrain-corrected gamma nought with the layers CARD4L asks for.",
        "The backscatter cube.",
    ),
    "atmospheric_correction": (
        "Correct the atmosphere",
        "Turns top-of-atmosphere into surface reflectance.",
        "The corrected cube.",
    ),
    "cloud_detection": (
        "Find clouds",
        "Computes how probable a cloud is, for every pixel.",
        "The cube of cloud values, 0 to 1.",
    ),
    "sar_backscatter": (
        "Radar backscatter",
        "Computes backscatter coefficients of radar data.",
        "The backscatter cube.",
    ),
    # vectors
    "vector_buffer": (
        "Buffer geometries",
        "Grows (or, below zero, shrinks) geometries by a distance in metres.",
        "The vector cube of buffers.",
    ),
    "vector_reproject": (
        "Change the CRS of geometries",
        "Transforms geometries to another coordinate reference system.",
        "The transformed vector cube.",
    ),
    "vector_to_random_points": (
        "Random points in geometries",
        "Draws random points within the geometries.",
        "The vector cube of points.",
    ),
    "vector_to_regular_points": (
        "Grid points in geometries",
        "Places points on a regular grid within the geometries.",
        "The vector cube of points.",
    ),
}
