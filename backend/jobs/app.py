"""The Celery application: which broker, which queues, how to wake a worker.

Messages carry ids only and may be lost or come twice: what is to be done, and who does it, stands in the database.
"""

from __future__ import annotations

import logging

from celery import Celery
from kombu import Queue
from kombu.exceptions import OperationalError

from backend.jobs import folder_broker
from backend.settings import Settings

LOG = logging.getLogger("tuile.jobs")
QUEUES = ("jobs", "chains", "superres", "udf")
RUN_JOB, RUN_TASK = "tuile.run_job", "tuile.run_task"
# How often a worker looks into the folder of the embedded broker; seconds.
POLL = 0.2


def make_app(settings: Settings) -> Celery:
    """A Celery application for these settings; it knows no tasks (`backend.jobs.tasks.register` adds them)."""
    app = Celery("tuile", set_as_current=False)
    app.conf.update(
        broker_url=settings.broker_url or f"{folder_broker.SCHEME}://localhost",
        broker_transport_options=_transport_options(settings),
        broker_connection_retry_on_startup=True,
        broker_connection_timeout=4,
        broker_connection_max_retries=None,
        task_queues=[Queue(name, routing_key=name) for name in QUEUES],
        task_default_queue="jobs",
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        # one message per free slot: what a worker holds back nobody else can do
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        task_publish_retry_policy={"max_retries": 2, "interval_start": 0.1, "interval_max": 0.5},
    )
    return app


def _transport_options(settings: Settings) -> dict[str, object]:
    if settings.embedded_broker:
        return {"folder": str(settings.data_dir.absolute() / "broker"), "polling_interval": POLL}
    return {"socket_timeout": 10, "socket_connect_timeout": 4, "socket_keepalive": True}


class Sender:
    """Wakes workers. A broker that does not answer is no failure: the reaper sends again what was not sent."""

    def __init__(self, settings: Settings):
        self._app = make_app(settings)
        # a message nobody read in this time is sent again anyway; old ones would only pile up
        self._expires = message_seconds(settings)

    def job(self, job_id: str) -> bool:
        """Send a job's message; False where the broker does not answer."""
        return self._send(RUN_JOB, [job_id], "jobs")

    def task(self, queue: str, stage_key: str, key: str) -> bool:
        """Send the message of a stage's task; False where the broker does not answer."""
        return self._send(RUN_TASK, [stage_key, key], queue if queue in QUEUES else "chains")

    def _send(self, name: str, args: list[str], queue: str) -> bool:
        try:
            self._app.send_task(name, args, queue=queue, expires=self._expires)
        except (OperationalError, OSError) as error:
            LOG.warning("the broker does not answer, %s %s is sent later: %s", name, "/".join(args), error)
            return False
        return True


def message_seconds(settings: Settings) -> float:
    """After how many seconds a message is taken for lost."""
    return 2 * settings.lease_seconds
