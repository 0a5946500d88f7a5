"""Workers that die, on both brokers: jobs finish elsewhere, once, and nothing is left behind."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import rasterio

from backend.jobs.app import Sender
from backend.store import jobs
from tests.workers import LEASE, Site, command, install_toys, processes_with, redis_server, wait_for


def test_job_survives_kill_9_of_its_worker(site: Site) -> None:
    job_id = site.start("toy_cube", save="COG", count=12, seconds=0.4)
    first = site.worker()
    site.wait(job_id, "running")
    wait_for(lambda: site.job(job_id).progress > 10, 60, lambda: site.tell(job_id))
    owner = site.job(job_id).lease_owner
    first.kill()  # SIGKILL to the supervisor: worker and computing process must end with it
    wait_for(lambda: not processes_with(site.settings.data_dir), 5, lambda: "the dead worker's processes to end")
    site.worker()
    wait_for(lambda: site.job(job_id).lease_owner not in (owner, None), 60, lambda: site.tell(job_id))
    job = site.wait(job_id, "finished", "error")
    assert job.status == "finished", site.tell(job_id)
    assert job.attempt == 2 and job.progress == 100
    folder = site.queue.folder(job_id)
    assert [p.name for p in folder.iterdir()] == ["openEO.tif"]
    with rasterio.open(folder / "openEO.tif") as file:
        assert file.shape == (64, 64 * 12) and (file.read(1) == 1).all()


def test_supervisor_replaces_a_killed_worker_process(site: Site) -> None:
    job_id = site.start("toy_cube", save="COG", count=10, seconds=0.4)
    site.worker()
    wait_for(lambda: site.job(job_id).progress > 10, 60, lambda: site.tell(job_id))
    [main] = [p for p in processes_with(site.settings.data_dir) if "backend.jobs.main" in command(p)]
    os.kill(main, signal.SIGKILL)
    assert site.wait(job_id, "finished", "error").status == "finished", site.tell(job_id)
    assert site.job(job_id).attempt == 2


def test_duplicate_messages_run_a_job_once(site: Site) -> None:
    job_id = site.start("toy_cube", save="COG", count=3, seconds=0.2)
    sender = Sender(site.settings)
    for _ in range(5):
        assert sender.job(job_id)
    site.worker("--slots", "3")
    job = site.wait(job_id, "finished", "error")
    assert job.status == "finished" and job.attempt == 1, site.tell(job_id)
    sender.job(job_id)  # after the end: nothing happens either
    other = site.start("toy_cube", save="COG", count=1)
    site.wait(other, "finished")
    assert site.job(job_id).attempt == 1 and site.job(job_id).finished == job.finished


def test_lost_message_is_sent_again(site: Site) -> None:
    job_id = site.create("toy_cube", save="COG", count=1)
    with site.database.session() as session:  # queued, and no message: the broker forgot it
        jobs.transition(session, job_id, ["created"], "queued")
    site.worker()
    assert site.wait(job_id, "finished", seconds=30 + 3 * LEASE).attempt == 1


def test_stage_tasks_survive_kill_9_and_the_job_goes_on(site: Site) -> None:
    job_id = site.start("toy_stage", count=4, params={"seconds": 1.0})
    first = site.worker()
    wait_for(lambda: site.job(job_id).waiting_stage is not None, 60, lambda: site.tell(job_id))
    wait_for(lambda: any(site.settings.workspace_dir.glob("toy_chain/[!.]*")), 60, lambda: site.tell(job_id))
    assert site.job(job_id).status == "running"
    first.kill()
    site.worker("--slots", "2")
    job = site.wait(job_id, "finished", "error", seconds=90)
    assert job.status == "finished", site.tell(job_id)
    assert (site.queue.folder(job_id) / "openEO.json").read_text() == "20"
    assert len(list(site.settings.workspace_dir.glob("toy_chain/[!.]*"))) == 4


@pytest.mark.redis
def test_jobs_started_while_redis_is_away_run_when_it_is_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_toys(tmp_path / "toys", monkeypatch)
    with redis_server(tmp_path) as url:
        site = Site(tmp_path / "data", url)
        site.worker()
        site.wait(site.start("add", x=1, y=1), "finished")
        port = int(url.rpartition(":")[2].partition("/")[0])
    job_id = site.start("add", x=1, y=2)
    assert site.job(job_id).status == "queued"
    with redis_server(tmp_path, port):
        assert site.wait(job_id, "finished", seconds=60).attempt == 1
        site.close()
