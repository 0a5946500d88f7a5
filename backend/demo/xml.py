"""What the writers of XML metadata share."""

from __future__ import annotations

from typing import Any
from xml.etree.ElementTree import Element, SubElement

from backend.demo.spectra import S2_CENTRE, spectral_response


def add(parent: Element, tag: str, text: Any = None, **attributes: str) -> Element:
    """A new element at the end of ``parent``."""
    element = SubElement(parent, tag, attributes)
    if text is not None:
        element.text = str(text)
    return element


def add_spectrum(parent: Element, band: str, digits: int) -> None:
    """Wavelengths and spectral response of a Sentinel-2 band, response to so many significant digits."""
    first, last, response = spectral_response(band)
    wavelength = add(parent, "Wavelength")
    add(wavelength, "MIN", first, unit="nm")
    add(wavelength, "MAX", last, unit="nm")
    add(wavelength, "CENTRAL", S2_CENTRE[band], unit="nm")
    curve = add(parent, "Spectral_Response")
    add(curve, "STEP", 1, unit="nm")
    add(curve, "VALUES", " ".join(f"{v:.{digits}g}" for v in response))
