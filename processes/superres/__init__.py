"""Finer resolution for the coarser bands of a sensor."""
