"""Processes on numbers, booleans, texts, dates and arrays.

One implementation serves single values (openEO's rules) and numpy blocks inside callbacks; `processes.scalar.values`
says how nodata, types and arrays are treated, once for all of them.
"""
