"""Atmospheric correction in the manner of MAJA: what runs at full resolution."""
