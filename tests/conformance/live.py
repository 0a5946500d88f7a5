"""``python -m tests.conformance.live [module ...] [--keep]``: the official openEO test suite against a real server.

Makes an archive, starts ``tuile serve`` on a free port beside an OpenID Connect provider, installs the suite in an
environment of its own (once), and runs its modules. Failures are compared with ``expected.json``, which gives the
upstream reason of each and words its message must hold; ends with status 1 where anything else fails, or where an expected failure has gone.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from backend.demo.main_job import index_archive, server
from tests.bench.contenders import Contender, environment
from tests.conformance import assets, live_archive, live_payloads
from tests.mock_idp import CLIENT, SECRET, MockIdp, mock_idp

HERE = Path(__file__).resolve().parent
CACHE = assets.ROOT / ".bench"
EXPECTED = HERE / "expected.json"
SUITE = Contender("openeo-test-suite", "suite", ("openeo-test-suite==0.2.2",))
PROVIDER = "mock"


@dataclass(frozen=True)
class Module:
    """A module of the suite: ``options`` are pytest's."""

    title: str
    package: str
    options: tuple[str, ...] = ()


MODULES = {
    "collections": Module("Collections (WP2)", "collections"),
    "metadata": Module("Process metadata, functional (WP3)", "processes.metadata", ("-m", "not optional", "--experimental")),
    "general": Module("General (WP4)", "general"),
    "workflows": Module(
        "Workflows (WP6)", "workflows", ("--experimental", "--s2-collection", live_archive.SENTINEL2)
    ),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", help=f"of {', '.join(MODULES)}; default: all")
    parser.add_argument(
        "--keep", type=Path, help="folder for archive, server log and reports; default: a temporary one"
    )
    parser.add_argument("-k", dest="only", help="pytest's -k")
    options = parser.parse_args()
    chosen = options.modules or list(MODULES)
    if unknown := set(chosen) - set(MODULES):
        parser.error(f"no such module: {', '.join(sorted(unknown))}")
    python = environment(SUITE, CACHE)
    with tempfile.TemporaryDirectory(prefix="tuile-suite-") as temporary:
        folder = options.keep.resolve() if options.keep else Path(temporary)
        failed = run(chosen, folder, python, options.only)
    sys.exit(int(failed))


def run(chosen: list[str], folder: Path, python: Path, only: str | None) -> bool:
    """Run modules against one server; True where something is not as expected."""
    archive, data, work = folder / "archive", folder / "data", folder / "suite"
    for made in (archive, data, work):
        made.mkdir(parents=True, exist_ok=True)
    live_archive.generate(archive)
    _checkout(python, work)
    if not (work / "assets").exists():
        (work / "assets").symlink_to(assets.shared() / "openeo" / "assets")
    index_archive(data, archive, _Plain())
    with mock_idp() as idp:
        os.environ["TUILE_OIDC_PROVIDERS"] = json.dumps([_provider(idp)])
        with server(archive, data) as url:
            print(f"openeo-test-suite 0.2.2 against {url}/openeo/1.2/", flush=True)
            results = {name: _module(name, url, work, python, only) for name in chosen}
    return report(results, partial=only is not None)


def _checkout(python: Path, work: Path) -> None:
    """The suite as a checkout of it lies: it looks for data beside its own package, and its distribution has none."""
    where = "import openeo_test_suite as s; print(s.__path__[0])"
    package = subprocess.run([str(python), "-c", where], check=True, capture_output=True, text=True).stdout.strip()
    source = work / "src"
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(package, source / "openeo_test_suite", ignore=shutil.ignore_patterns("__pycache__"))
    live_payloads.write(source / "openeo_test_suite/tests/general/payload_examples")
    shutil.copy(HERE / "suite_plugin.py", source)


def _provider(idp: MockIdp) -> dict[str, object]:
    return {"id": PROVIDER, "issuer": idp.issuer, "title": "Mock", "scopes": ["openid"]}


class _Plain:
    """What `index_archive` wants of a console."""

    def print(self, text: str) -> None:
        print(text)

    def status(self, _: str) -> _Plain:
        return self

    def __enter__(self) -> _Plain:
        return self

    def __exit__(self, *_: object) -> None:
        return None


def _module(name: str, url: str, work: Path, python: Path, only: str | None) -> dict[str, tuple[str, str]]:
    """Test id -> (outcome, message) of one module."""
    module, report_file = MODULES[name], work / f"{name}.xml"
    command = [
        str(python), "-m", "pytest", "-q", "-p", "openeo_test_suite.lib.pytest_plugin", "-p", "suite_plugin",
        "-p", "no:cacheprovider", f"--rootdir={work}", "-U", f"{url}/openeo/1.2/", f"--junit-xml={report_file}",
        "--pyargs", f"openeo_test_suite.tests.{module.package}", *module.options, *(["-k", only] if only else []),
    ]  # fmt: skip
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("TUILE_", "PYTHON"))} | {
        "PYTHONPATH": str(work / "src"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OPENEO_AUTH_METHOD": "client_credentials",
        "OPENEO_AUTH_CLIENT_ID": CLIENT,
        "OPENEO_AUTH_CLIENT_SECRET": SECRET,
        "OPENEO_AUTH_PROVIDER_ID": PROVIDER,
    }
    began = time.monotonic()
    with (work / f"{name}.log").open("w") as log:
        subprocess.run(command, cwd=work, env=environ, stdout=log, stderr=subprocess.STDOUT, check=False)
    if not report_file.is_file():
        raise SystemExit(f"{module.title}: pytest ended early\n{(work / f'{name}.log').read_text()[-3000:]}")
    outcomes = _outcomes(report_file)
    counts = Counter(outcome for outcome, _ in outcomes.values())
    print(
        f"{module.title:40} {counts['passed']}/{len(outcomes)} passed, {counts['failed']} failed, "
        f"{counts['skipped']} skipped, {time.monotonic() - began:.0f} s",
        flush=True,
    )
    return outcomes


def _outcomes(file: Path) -> dict[str, tuple[str, str]]:
    out = {}
    for case in ET.parse(file).getroot().iter("testcase"):
        outcome, message = "passed", ""
        for kind, told in (("failure", "failed"), ("error", "failed"), ("skipped", "skipped")):
            if (found := case.find(kind)) is not None:
                outcome, message = told, (found.get("message") or "") + "\n" + (found.text or "")
        out[str(case.get("name"))] = (outcome, message)
    return out


def report(results: dict[str, dict[str, tuple[str, str]]], *, partial: bool) -> bool:
    """Print what is not as expected; True where there is any of it."""
    expected: dict[str, dict[str, dict[str, str]]] = json.loads(EXPECTED.read_text())
    wrong = False
    for name, outcomes in results.items():
        known = expected.get(name, {})
        for test, (outcome, message) in outcomes.items():
            if outcome == "skipped":
                print(f"  skipped  {name}::{test}: {message.strip().splitlines()[0][:200]}")
            elif outcome == "failed" and test in known and known[test]["message"] in message:
                print(f"  upstream {name}::{test}: {known[test]['reason']}")
            elif outcome == "failed":
                wrong = True
                told = [line for line in message.splitlines() if line.startswith("E ")] or message.splitlines()
                print(f"  FAILED   {name}::{test}\n    " + "\n    ".join(line[:300] for line in told[:6]))
        for test in () if partial else known:
            if outcomes.get(test, ("absent", ""))[0] != "failed":
                wrong = True
                print(f"  PASSES   {name}::{test}: take it out of {EXPECTED.name}")
    return wrong


if __name__ == "__main__":
    main()
