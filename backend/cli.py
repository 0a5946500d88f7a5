"""The command ``tuile``: one line per command here, each command's code beside what it does."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points, version

import click

COMMANDS = {
    "serve": "backend.server:serve_command",
    "worker": "backend.jobs.worker:worker_command",
    "demo": "backend.demo.main_job:demo_command",
    "demo-archive": "backend.demo.cli:demo_archive",
    "ingest": "backend.catalogue.cli:ingest",
    "catalogue": "backend.catalogue.cli:catalogue",
    "run": "backend.local:run_command",
    "doctor": "backend.doctor:doctor_command",
    "user": "backend.auth.cli:user",
    "db": "backend.store.cli:db",
}


class Lazy(click.Group):
    """Imports a command's module when it is called: ``tuile --help`` does not pay for GDAL."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS, *(p.name for p in entry_points(group="tuile.cli"))]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name in COMMANDS:
            module, attribute = COMMANDS[name].split(":")
            return getattr(import_module(module), attribute)
        return next((p.load() for p in entry_points(group="tuile.cli") if p.name == name), None)


@click.command(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("tuile"), prog_name="tuile")
def main() -> None:
    """An openEO backend over the satellite tile archive you already have.

    Settings come from TUILE_* environment variables; `tuile doctor` checks the installation, with --settings it lists them.
    """


if __name__ == "__main__":
    main()
