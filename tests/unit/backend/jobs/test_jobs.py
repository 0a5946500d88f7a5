"""Batch jobs on a real worker: states, progress, logs, failures, cancel, delete, stages."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from backend.store import jobs
from backend.store.models import JobAsset
from tests.workers import Site, wait_for


def assets(site: Site, job_id: str) -> list[JobAsset]:
    with site.database.session(read_only=True) as session:
        return jobs.assets(session, job_id)


def test_job_runs_to_the_end_with_growing_progress(site: Site) -> None:
    job_id = site.start("toy_cube", save="COG", count=10, seconds=0.35)
    seen: list[float] = []

    def ended() -> bool:
        job = site.job(job_id)
        seen.append(job.progress)
        return job.status in jobs.ENDED

    wait_for(ended, 60, lambda: site.tell(job_id))
    job = site.job(job_id)
    assert job.status == "finished" and job.started >= job.queued and job.finished >= job.started
    assert seen == sorted(seen) and len({p for p in seen if 0 < p < 100}) >= 2 and job.progress == 100
    [asset] = assets(site, job_id)
    path = site.queue.folder(job_id) / asset.name
    assert asset.name == "openEO.tif" and asset.size == path.stat().st_size
    assert asset.metadata_["proj:code"] == "EPSG:32631" and asset.metadata_["bands"][0]["statistics"]["mean"] == 1
    assert asset.bbox and asset.geometry and asset.cube["x"]["step"] == 10
    assert job.usage["duration"]["value"] > 3 and job.usage["cpu"]["unit"] == "cpu-seconds"
    assert site.logs(job_id)[-1].message.startswith("Finished: 1 files")


def test_restart_replaces_results_and_log(site: Site) -> None:
    job_id = site.start("add", x=1, y=2)
    site.wait(job_id, "finished")
    folder = site.queue.folder(job_id)
    assert (folder / "openEO.json").read_text() == "3"
    first = [e.id for e in site.logs(job_id)]
    (folder / "stale.txt").write_text("old")
    site.queue.start(job_id)
    wait_for(
        lambda: site.job(job_id).status == "finished" and not (folder / "stale.txt").exists(),
        60,
        lambda: site.tell(job_id),
    )
    assert not set(first) & {e.id for e in site.logs(job_id)}
    site.queue.delete_results(job_id)
    assert not folder.exists() and assets(site, job_id) == []


def test_starting_a_queued_or_running_job_changes_nothing(site: Site) -> None:
    job_id = site.start("toy_cube", save="COG", count=4, seconds=0.4)
    site.wait(job_id, "running")
    queued = site.job(job_id).queued
    site.queue.start(job_id)
    job = site.wait(job_id, "finished")
    assert job.queued == queued and job.attempt == 1


def test_logs_have_level_code_path_and_the_level_asked_for(site: Site) -> None:
    job_id = site.create("toy_talk", text="hello")
    with site.database.session() as session:
        jobs.change(session, job_id, log_level="warning")
    site.queue.start(job_id)
    site.wait(job_id, "finished")
    entries = site.logs(job_id)
    assert [(e.level, e.message) for e in entries] == [("warning", "hello warning"), ("error", "hello error")]
    assert entries[0].code == "Talk" and entries[0].path == ["p"] and entries[0].data == {"n": 1}


def test_mistake_of_the_user(site: Site) -> None:
    job_id = site.start("toy_fault", how="user")
    job = site.wait(job_id, "error")
    assert job.error_code == "NoDataAvailable" and "There is no data there." in job.error_message
    entry = site.logs(job_id)[-1]
    assert (entry.level, entry.code, entry.path) == ("error", "NoDataAvailable", ["p"])
    assert entry.data == {"where": "nowhere"} and "Traceback" not in entry.message
    assert list(site.queue.folder(job_id).iterdir()) == []


def test_fault_of_ours_keeps_the_stack_out_of_the_message(site: Site) -> None:
    job_id = site.start("toy_fault", how="bug")
    job = site.wait(job_id, "error")
    entry = site.logs(job_id)[-1]
    assert job.error_code == "Internal" == entry.code
    assert "secret" not in entry.message and "Traceback" not in entry.message
    assert "ZeroDivisionError: a secret detail" in entry.data["stacktrace"]


def test_invalid_graph_is_an_error_of_the_job(site: Site) -> None:
    job_id = site.start("no_such_process")
    assert site.wait(job_id, "error").error_code == "ProcessUnsupported"


def test_killed_computation_is_tried_again(site: Site, tmp_path: Path) -> None:
    job_id = site.start("toy_fault", how="kill", once=str(tmp_path / "once"))
    job = site.wait(job_id, "finished", "error")
    assert job.status == "finished" and job.attempt == 2, site.tell(job_id)
    assert any(e.level == "warning" and "SIGKILL" in e.message for e in site.logs(job_id))


def test_computation_that_always_dies_is_given_up(site: Site) -> None:
    job_id = site.start("toy_fault", how="kill")
    job = site.wait(job_id, "error", seconds=90)
    assert job.error_code == "Internal" and "3 times" in job.error_message and job.attempt == 3


def test_want_of_memory_is_told(site: Site) -> None:
    job_id = site.start("toy_fault", how="memory")
    job = site.wait(job_id, "error")
    assert job.error_code == "MemoryExceeded" and "TUILE_MEMORY_LIMIT" in job.error_message


def test_options_in_a_form_nobody_expects(site: Site) -> None:
    job_id = site.create("add", x=1, y=1)
    with site.database.session() as session:
        jobs.change(session, job_id, options={"job_options": ["x"], "skip_unreadable": "yes"})
    site.queue.start(job_id)
    assert site.wait(job_id, "finished", "error").status == "finished", site.tell(job_id)


def test_a_results_folder_that_cannot_be_written(site: Site) -> None:
    blocker = site.start("toy_cube", save="COG", count=8, seconds=0.3)  # the worker has one slot
    site.wait(blocker, "running")
    job_id = site.start("add", x=1, y=1)
    folder = site.queue.folder(job_id)
    folder.touch()  # where the folder should be
    job = site.wait(job_id, "finished", "error")
    assert (job.error_code, job.attempt) == ("StorageFailure", 1), site.tell(job_id)
    assert str(folder) not in job.error_message
    assert site.logs(job_id)[-1].code == "StorageFailure"
    folder.unlink()
    site.queue.start(job_id)
    assert site.wait(job_id, "finished", "error").status == "finished"


def test_cancel_ends_the_computation(site: Site) -> None:
    job_id = site.start("toy_cube", save="COG", count=100, seconds=1.0)
    wait_for(lambda: site.job(job_id).progress > 0, 60, lambda: site.tell(job_id))
    busy = set(site.computing())
    site.queue.cancel(job_id)
    assert site.job(job_id).status == "canceled"
    folder = site.queue.folder(job_id)
    wait_for(lambda: not any(folder.iterdir()), 5, lambda: "the run's folder to go")
    assert busy - set(site.computing()), "the computing process was not ended"
    assert site.job(job_id).status == "canceled"
    site.queue.cancel(job_id)  # nothing to cancel any more
    other = site.start("add", x=1, y=1)  # the worker goes on
    assert site.wait(other, "finished").status == "finished"


def test_deleted_while_running(site: Site) -> None:
    job_id = site.start("toy_cube", save="COG", count=100, seconds=1.0)
    wait_for(lambda: site.job(job_id).progress > 0, 60, lambda: site.tell(job_id))
    site.queue.cancel(job_id)  # what DELETE /jobs/{id} does
    site.queue.delete_results(job_id)
    with site.database.session() as session:
        jobs.remove(session, job_id)
    folder = site.queue.folder(job_id)
    other = site.start("add", x=1, y=1)
    site.wait(other, "finished")
    wait_for(lambda: not folder.exists(), 5, lambda: "the folder to go")


def test_canceled_before_it_runs(site: Site) -> None:
    blocker = site.start("toy_cube", save="COG", count=8, seconds=0.3)
    site.wait(blocker, "running")
    job_id = site.start("add", x=1, y=1)
    site.queue.cancel(job_id)
    site.wait(blocker, "finished")
    last = site.start("add", x=1, y=1)
    site.wait(last, "finished")
    assert site.job(job_id).status == "canceled" and site.job(job_id).attempt == 0


def test_stages_run_on_workers_and_the_job_goes_on(site: Site) -> None:
    job_id = site.start("toy_stage", count=3, params={"seconds": 0.3})
    states: set[tuple[str, bool]] = set()

    def ended() -> bool:
        job = site.job(job_id)
        states.add((job.status, job.waiting_stage is not None))
        return job.status in jobs.ENDED

    wait_for(ended, 90, lambda: site.tell(job_id))
    assert site.job(job_id).status == "finished", site.tell(job_id)
    assert ("running", True) in states  # it waited, holding no worker: there is only one here
    assert (site.queue.folder(job_id) / "openEO.json").read_text() == "12"
    made = sorted(site.settings.workspace_dir.glob("toy_chain/[!.]*/made.txt"))
    times = [p.stat().st_mtime_ns for p in made]
    again = site.start("toy_stage", count=3, params={"seconds": 0.3})
    site.wait(again, "finished")
    assert [p.stat().st_mtime_ns for p in made] == times, "a second request for the same products made them anew"


def test_stage_that_fails_fails_its_job_and_can_be_tried_again(site: Site) -> None:
    job_id = site.start("toy_stage", count=2, params={"fail": True})
    job = site.wait(job_id, "error", "finished", seconds=90)
    assert (job.status, job.error_code) == ("error", "NoDataAvailable"), site.tell(job_id)
    site.queue.start(job_id)
    assert site.wait(job_id, "error", "finished", seconds=90).error_code == "NoDataAvailable"


def test_task_whose_process_dies_is_done_again(site: Site, tmp_path: Path) -> None:
    job_id = site.start("toy_stage", count=2, params={"kill_once": str(tmp_path / "killed")})
    job = site.wait(job_id, "finished", "error", seconds=90)
    assert job.status == "finished", site.tell(job_id)
    assert len(list(tmp_path.glob("killed-*"))) == 2


def test_a_worker_that_is_told_to_end_gives_its_job_back(site: Site) -> None:
    job_id = site.start("toy_cube", save="COG", count=16, seconds=0.4)
    wait_for(lambda: site.job(job_id).progress > 0, 60, lambda: site.tell(job_id))
    worker = site.workers[-1]
    os.kill(worker.pid, signal.SIGTERM)
    assert worker.wait(20) == 0
    job = site.job(job_id)
    assert job.status == "running" and job.lease_owner is None
    site.worker()
    job = site.wait(job_id, "finished", "error")
    # a worker that ends in good order is no attempt that failed
    assert job.status == "finished" and job.attempt == 1, site.tell(job_id)


@pytest.mark.parametrize("queues", ["jobs,nowhere"])
def test_unknown_queues_are_refused(queues: str) -> None:
    from click.testing import CliRunner

    from backend.jobs.worker import worker_command

    done = CliRunner().invoke(worker_command, ["--queues", queues])
    assert done.exit_code == 2 and "There is no queue nowhere" in done.output
