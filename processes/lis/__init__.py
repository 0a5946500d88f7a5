"""LIS-like snow chain: detection, snow line, season synthesis. See README.md for sources and methods."""

from processes.lis.cubes import snow_metadata
from processes.lis.product import write_cube
from processes.lis.season import merge_snow, snow_synthesis
from processes.lis.snow import lis_snow
from processes.lis.snowline import snow_line
from processes.lis.stage import CHAIN

__all__ = ["CHAIN", "lis_snow", "merge_snow", "snow_line", "snow_metadata", "snow_synthesis", "write_cube"]
