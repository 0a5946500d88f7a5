"""What a worker does with a message: run a job, or one task of a stage.

A message only says where to look. Whoever claims the row (compare-and-set) works; everybody else, and every second
message, goes home. Results appear in the job's folder together with the state ``finished``, so a worker that lost its
lease without noticing cannot spoil anything.
"""

from __future__ import annotations

import logging
import shutil
import time
import uuid

from celery import Celery
from sqlalchemy import Update, update
from sqlalchemy.orm import Session

from backend.errors import OpenEOError, storage_failure
from backend.jobs.app import RUN_JOB, RUN_TASK, Sender
from backend.jobs.dispatch import submit, task_of
from backend.jobs.lease import Keeper, LeaseLost, ShutDown, new_owner
from backend.jobs.messages import Broken, Done, Failed, GraphRequest, Log, Outcome, Pending, TaskRequest, Usage
from backend.jobs.process import Died, Spares, out_of_memory
from backend.jobs.stage_rows import note_progress, release_task, waiting_jobs
from backend.results.asset import Asset
from backend.results.stac import asset_row
from backend.settings import Settings
from backend.store import jobs, stages, udps
from backend.store.db import Database
from backend.store.logs import LEVELS, add_log
from backend.store.models import Job, StageTask

LOG = logging.getLogger("tuile.jobs")
# Work whose worker died this often is not tried again: it is probably what kills them.
ATTEMPTS = 3
# Stage tasks a process may do before it is replaced; a job gets a process of its own.
TASK_RUNS = 20


class Runner:
    """Does the work of one worker."""

    def __init__(self, settings: Settings, database: Database, sender: Sender):
        self.settings, self.database, self.sender = settings, database, sender
        self.for_jobs, self.for_tasks = Spares(settings, runs=1), Spares(settings, runs=TASK_RUNS)

    def close(self) -> None:
        self.for_jobs.close()
        self.for_tasks.close()

    def job(self, job_id: str) -> None:
        """Run a job if it wants running and nobody does."""
        owner = new_owner()
        with self.database.session() as session:
            job = jobs.claim(session, job_id, owner, self.settings.lease_seconds)
            if job is None:
                return
            namespace = udps.namespace(session, job.user_id)
        work = JobWork(self, job, owner)
        try:
            work.run(namespace)
        except LeaseLost:
            LOG.info("job %s: canceled or taken by another worker", job_id)
        except OSError as error:  # folders cannot be made or files not moved: the next worker would fare no better
            LOG.exception("job %s", job_id)
            work.fail(storage_failure(error))
        finally:
            work.clean()

    def task(self, stage_key: str, key: str) -> None:
        """Do a task of a stage if it wants doing and nobody does."""
        owner = new_owner()
        with self.database.session() as session:
            task = stages.claim_task(session, stage_key, key, owner, self.settings.lease_seconds)
        if task is None:
            return
        try:
            TaskWork(self, task, owner).run()
        except LeaseLost:
            LOG.info("task %s of stage %s: taken by another worker", key, stage_key)

    def wake(self, job_ids: list[str]) -> None:
        """Send messages for jobs."""
        told = [i for i in job_ids if self.sender.job(i)]
        if told:
            with self.database.session() as session:
                jobs.sent(session, told)

    def compute(self, spares: Spares, request: GraphRequest | TaskRequest, keeper: Keeper) -> Outcome:
        """Run a request in a process; raises `Died`, `LeaseLost`, `ShutDown`, with the process killed."""
        process = spares.take()
        if spares is self.for_jobs:
            spares.warm(1)  # imports while this job runs, so that the next one starts at once
        try:
            outcome = process.run(request, log=keeper.log, progress=keeper.progress, check=keeper.check)
        except BaseException:
            process.kill()
            raise
        spares.give_back(process)
        return outcome


class JobWork:
    """One run of a job under a lease."""

    def __init__(self, runner: Runner, job: Job, owner: str):
        self.runner, self.job, self.owner = runner, job, owner
        self.id, self.started = job.id, time.monotonic()
        self.folder = runner.settings.results_dir / job.id
        self.out = self.folder / f".run-{uuid.uuid4().hex[:12]}"
        self.keeper = Keeper(
            runner.database,
            lambda s, p: jobs.heartbeat(s, job.id, owner, lease_seconds=runner.settings.lease_seconds, progress=p),
            self._mine,
            lease_seconds=runner.settings.lease_seconds,
            sources=lambda _: [job.id],
            level=job.log_level,
            base=job.progress,
        )

    def _mine(self, session: Session) -> bool:
        row = jobs.get(session, self.id)
        return row is not None and row.status == "running" and row.lease_owner == self.owner

    def run(self, namespace: dict[str, dict[str, object]]) -> None:
        """Compute and bring the job into its next state."""
        if self.job.attempt > ATTEMPTS:
            self.fail(OpenEOError("Internal", f"The worker died {ATTEMPTS} times while it ran this job.", status=500))
            return
        for left in self.folder.glob(".run-*"):  # of a worker that died
            shutil.rmtree(left, ignore_errors=True)
        self.out.mkdir(parents=True, exist_ok=True)
        request = GraphRequest(
            process=self.job.process,
            namespace=namespace,
            out=self.out.absolute(),
            user_id=self.job.user_id,
            job_id=self.id,
            stages_elsewhere=self.runner.settings.dispatch == "celery",
            skip_unreadable=_option(self.job, "skip_unreadable"),
        )
        self.keeper.log(Log("debug", f"Run {self.job.attempt} of the job starts."))
        try:
            outcome = self.runner.compute(self.runner.for_jobs, request, self.keeper)
        except Died as death:
            self.died(death)
        except ShutDown:
            self.give_back()
        else:
            self.ended(outcome)

    def ended(self, outcome: Outcome) -> None:
        match outcome:
            case Done(assets, usage):
                self.finish(list(assets), usage)
            case Pending(stage, queue):
                try:
                    waits = submit(self.runner.database, self.runner.sender, self.job, self.owner, stage, queue)
                except OpenEOError as error:
                    self.fail(error)
                    return
                if waits:
                    text = f"{stage.chain}: {len(stage.tasks)} products to make, the job goes on when they are there."
                    with self.runner.database.session() as session:
                        self.keeper.log(Log("info", text))
                        self.keeper.flush(session)
                else:
                    self.again("debug", "The products the job waited for are there.")
            case Failed(error):
                self.fail(error)
            case Broken(summary, stack):
                self.broken(summary, stack)

    def finish(self, assets: list[Asset], usage: Usage) -> None:
        """State, files and their rows change together; files are moved while the row is ours."""
        rows = [asset_row(self.id, n, a) for n, a in enumerate(assets)]
        size = sum(r.size for r in rows)
        with self.runner.database.session() as session:
            moved = jobs.transition(session, self.id, ("running",), "finished", owner=self.owner, usage=usage.to_json())
            if not moved:
                raise LeaseLost
            for old in self.folder.iterdir():
                if not old.name.startswith("."):
                    shutil.rmtree(old) if old.is_dir() else old.unlink()
            for asset in assets:
                asset.move(self.folder)
            shutil.rmtree(self.out, ignore_errors=True)
            jobs.put_assets(session, self.id, rows)
            self.keeper.log(Log("info", f"Finished: {len(rows)} files, {size / 1e6:.1f} MB, {usage.wall:.0f} s."))
            self.keeper.flush(session)

    def fail(self, error: OpenEOError) -> None:
        """State ``error``, with the entry of the log that says why."""
        self._fail(error, Log("error", error.message, error.code, error.data, error.path))

    def broken(self, summary: str, stack: str) -> None:
        """A fault of ours: the client learns where to ask, the operator finds the stack."""
        error = internal(summary, stack, f"job {self.id}")
        self._fail(error, Log("error", error.message, error.code, {"stacktrace": stack}))

    def _fail(self, error: OpenEOError, entry: Log) -> None:
        with self.runner.database.session() as session:
            told = {"error_code": error.code, "error_message": error.message}
            if not jobs.transition(session, self.id, ("running",), "error", owner=self.owner, **told):
                raise LeaseLost
            self.keeper.log(entry)
            self.keeper.flush(session)

    def died(self, death: Died) -> None:
        """The process was killed: for memory, the job fails and says so; else it is tried again."""
        if death.memory:
            self.fail(out_of_memory(death.used, self.runner.settings.memory_limit))
        elif self.job.attempt >= ATTEMPTS:
            text = f"The process that computed the job ended {ATTEMPTS} times, last with {death.how}."
            self.fail(OpenEOError("Internal", text, status=500))
        else:
            self.again("warning", f"The process that computed the job ended with {death.how}; it is started again.")

    def again(self, level: str, text: str) -> None:
        """Give the job back and wake a worker for it."""
        with self.runner.database.session() as session:
            if not jobs.release(session, self.id, self.owner):
                raise LeaseLost
            self.keeper.log(Log(level, text))
            self.keeper.flush(session)
        self.runner.wake([self.id])

    def give_back(self) -> None:
        """Release the job without a message, which this very worker might take: the next worker's reaper finds it. A
        worker that ends in good order is no attempt that failed."""
        with self.runner.database.session() as session:
            session.execute(_own(self.id, self.owner).values(attempt=Job.attempt - 1))
            if not jobs.release(session, self.id, self.owner):
                raise LeaseLost
            self.keeper.log(Log("info", "The worker is shut down; another one takes over."))
            self.keeper.flush(session)

    def clean(self) -> None:
        """Leave nothing of this run; nor the folder, if the job was deleted meanwhile."""
        shutil.rmtree(self.out, ignore_errors=True)
        with self.runner.database.session(read_only=True) as session:
            gone = jobs.get(session, self.id) is None
        if gone:
            shutil.rmtree(self.folder, ignore_errors=True)


class TaskWork:
    """One run of a stage's task under a lease."""

    def __init__(self, runner: Runner, task: StageTask, owner: str):
        self.runner, self.row, self.owner = runner, task, owner
        self.stage, self.key = task.stage_key, task.key
        lease = runner.settings.lease_seconds
        self.keeper = Keeper(
            runner.database,
            lambda s, _: stages.heartbeat_task(s, self.stage, self.key, owner, lease),
            self._mine,
            lease_seconds=lease,
            sources=lambda s: waiting_jobs(s, self.stage),
            level="info",
        )

    def _mine(self, session: Session) -> bool:
        row = session.get(StageTask, (self.stage, self.key), populate_existing=True)
        return row is not None and row.status == "running" and row.lease_owner == self.owner

    def run(self) -> None:
        """Make the products; whoever finishes last wakes the jobs that wait."""
        if self.row.attempt > ATTEMPTS:
            self.fail("Internal", f"The worker died {ATTEMPTS} times while it made a product of this stage.")
            return
        try:
            outcome = self.runner.compute(self.runner.for_tasks, TaskRequest(task_of(self.row.payload)), self.keeper)
        except Died as death:
            if death.memory:
                error = out_of_memory(death.used, self.runner.settings.memory_limit)
                self.fail(error.code, error.message)
            elif self.row.attempt >= ATTEMPTS:
                self.fail("Internal", f"The process that made a product ended {ATTEMPTS} times, last with {death.how}.")
            else:
                self.again()
            return
        except ShutDown:
            with self.runner.database.session() as session:
                release_task(session, self.stage, self.key, self.owner, failed=False)
            return
        match outcome:
            case Done():
                self.finish()
            case Failed(error):
                self.fail(error.code, error.message)
            case Broken(summary, stack):
                error = internal(summary, stack, f"stage {self.stage} task {self.key}")
                self.keeper.log(Log("error", error.message, error.code, {"stacktrace": stack}))
                self.fail(error.code, error.message)
            case Pending(stage, _):
                self.fail("Internal", f"A product of a stage asked for another stage ({stage.chain}).")

    def finish(self) -> None:
        with self.runner.database.session() as session:
            self.keeper.flush(session)
            note_progress(session, self.stage)
            waiting = stages.finish_task(session, self.stage, self.key)
        self.runner.wake(waiting)

    def fail(self, code: str, message: str) -> None:
        with self.runner.database.session() as session:
            self.keeper.flush(session)
            waiting = stages.fail_task(session, self.stage, self.key, self.owner, code, message)
        self.runner.wake(waiting)

    def again(self) -> None:
        """Give the task back and wake a worker for it."""
        with self.runner.database.session() as session:
            release_task(session, self.stage, self.key, self.owner, failed=True)
            row = stages.get(session, self.stage)
        if row is not None:
            self.runner.sender.task(row.queue, self.stage, self.key)


def internal(summary: str, stack: str, what: str) -> OpenEOError:
    """The error a client sees of a fault of ours; the whole story goes to the server's log."""
    error = OpenEOError("Internal", "", status=500)
    error.message = f"The server made a mistake. Tell the operator this id: {error.id}."
    LOG.error("%s: %s (error %s)\n%s", what, summary, error.id, stack)
    return error


def register(app: Celery, runner: Runner) -> None:
    """Make the worker's tasks known to Celery."""

    @app.task(name=RUN_JOB)
    def run_job(job_id: str) -> None:
        runner.job(job_id)

    @app.task(name=RUN_TASK)
    def run_task(stage_key: str, key: str) -> None:
        runner.task(stage_key, key)


def write_log(session: Session, source: str, entries: list[Log], level: str) -> None:
    """Write entries at least as severe as ``level``."""
    for e in entries:
        if LEVELS.index(e.level) <= LEVELS.index(level):
            add_log(session, source, e.level, e.message, code=e.code, path=e.path, data=e.data)


def _own(job_id: str, owner: str) -> Update:
    """UPDATE of a job while ``owner`` holds it."""
    return update(Job).where(Job.id == job_id, Job.lease_owner == owner).execution_options(synchronize_session=False)


def _option(job: Job, name: str) -> bool | None:
    """An option the client gave with the job, at the top or in ``job_options``."""
    nested = job.options.get("job_options")
    value = job.options.get(name, nested.get(name) if isinstance(nested, dict) else None)
    return value if isinstance(value, bool) else None
