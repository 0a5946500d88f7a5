"""Our own words for the standard's definitions: summaries, descriptions, parameters, returns, exceptions.

`tests.conformance.extract_interfaces` joins them with the standard's interface into ``processes/specs``.
Every entry is ``id: (summary, description, what it returns)``.
"""

from tests.conformance.words.cubes import CUBES
from tests.conformance.words.parameters import EXCEPTIONS, EXCEPTIONS_OF, PARAMETERS, PARAMETERS_OF
from tests.conformance.words.values import VALUES

PROCESSES: dict[str, tuple[str, str, str]] = {**VALUES, **CUBES}

__all__ = ["EXCEPTIONS", "EXCEPTIONS_OF", "PARAMETERS", "PARAMETERS_OF", "PROCESSES"]
