"""Run the official cases against our processes, in this process, without a server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from processes import registry
from processes.env import Env
from processes.errors import ProcessError
from tests.conformance import callbacks
from tests.conformance.cases import Case, Edition, load
from tests.conformance.compare import DELTA, differences
from tests.conformance.encoding import decode, encode


@dataclass(frozen=True)
class Outcome:
    """A case and why it failed (empty where it passed)."""

    case: Case
    failure: str

    @property
    def passed(self) -> bool:
        return not self.failure


def execute(case: Case, *, chunked: bool) -> Any:
    """Result of a case in the tests' notation. Raises what the process raises."""
    process = registry.get(case.process)
    arguments = {k: encode(v, chunked=chunked, callback=callbacks.compile) for k, v in case.source["arguments"].items()}
    if process.wants_env:
        arguments["env"] = Env()
    return decode(process.function(**arguments), case.source.get("returns"))


def run(case: Case, *, chunked: bool = False) -> Outcome:
    """Execute a case and compare. Any exception counts as the process's answer."""
    throws, returns = case.source.get("throws"), "returns" in case.source
    try:
        result = execute(case, chunked=chunked)
    except Exception as error:
        if not throws:
            return Outcome(case, f"{type(error).__name__}: {error}")
        code = error.code if isinstance(error, ProcessError) else type(error).__name__
        # `throws: true` allows any error; a name must be the one raised
        return Outcome(case, "" if throws is True or code == throws else f"{code} instead of {throws}")
    if not returns:
        return Outcome(case, f"{result!r} instead of the error {throws}")
    found = differences(case.source["returns"], result, case.source.get("delta", DELTA))
    return Outcome(case, "; ".join(found[:3]))


def run_all(edition: Edition, *, chunked: bool = False) -> list[Outcome]:
    return [run(case, chunked=chunked) for case in load(edition)]
