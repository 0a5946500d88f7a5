"""What can be read, written, run and configured."""

from __future__ import annotations

from flask import Blueprint, Response

from backend.api.render import reply
from backend.context import context

blueprint = Blueprint("formats", __name__)


@blueprint.get("/file_formats")
def file_formats() -> Response:
    return reply(context().offers.file_formats())


@blueprint.get("/udf_runtimes")
def udf_runtimes() -> Response:
    return reply(context().offers.udf_runtimes())


@blueprint.get("/service_types")
def service_types() -> Response:
    return reply(context().offers.service_types())


@blueprint.get("/processing_parameters")
def processing_parameters() -> Response:
    """What jobs and synchronous requests may be told beside the process."""
    return reply(context().offers.processing_parameters())
