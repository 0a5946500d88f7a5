"""Parts of the job machinery that need no worker."""

from __future__ import annotations

import threading
from pathlib import Path
from queue import Empty

import pytest
from kombu import Connection, Exchange, Queue
from pydantic import SecretStr
from sqlalchemy.exc import OperationalError

from backend.jobs.app import Sender
from backend.jobs.folder_broker import SCHEME
from backend.jobs.handover import environment
from backend.jobs.lease import STOPPING, Keeper, LeaseLost, ShutDown
from backend.jobs.messages import Log, Usage
from backend.jobs.process import Died, out_of_memory
from backend.jobs.queue import Queue as JobQueue
from backend.jobs.reaper import Reaper
from backend.settings import Settings
from backend.store import jobs, stages, users
from backend.store.db import Database
from backend.store.types import now


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(_env_file=None, data_dir=tmp_path, lease_seconds=0.3)


@pytest.fixture
def database(settings: Settings) -> Database:
    made = Database(settings.database)
    made.upgrade()
    with made.session() as session:
        users.create(session, "ada", "a long password")
    return made


def new_job(database: Database, **changes: object) -> str:
    with database.session() as session:
        user = users.by_name(session, "ada").id if hasattr(users, "by_name") else _only_user(session)
        return jobs.create(session, user, {"process_graph": {}}, **changes).id


def _only_user(session) -> str:
    from sqlalchemy import select

    from backend.store.models import User

    return session.scalars(select(User.id)).one()


class TestFolderBroker:
    def queue(self, folder: Path) -> tuple[Connection, Queue]:
        link = Connection(f"{SCHEME}://localhost", transport_options={"folder": str(folder)})
        return link, Queue("jobs", Exchange("jobs"), routing_key="jobs")

    def test_messages_come_once_and_in_order(self, tmp_path: Path) -> None:
        link, queue = self.queue(tmp_path)
        with link, link.SimpleQueue(queue) as sender:
            for n in range(20):
                sender.put({"n": n})
            assert sender.qsize() == 20
        other, queue = self.queue(tmp_path)
        got = []
        with other, other.SimpleQueue(queue) as receiver:
            for _ in range(20):
                message = receiver.get(block=False)
                got.append(message.payload["n"])
                message.ack()
            with pytest.raises(Empty):
                receiver.get(block=False)
        assert got == list(range(20)) and list(tmp_path.iterdir()) == []

    def test_two_readers_never_get_the_same_message(self, tmp_path: Path) -> None:
        link, queue = self.queue(tmp_path)
        with link, link.SimpleQueue(queue) as sender:
            for n in range(200):
                sender.put(n)
        got: list[int] = []

        def read() -> None:
            mine, queue = self.queue(tmp_path)
            with mine, mine.SimpleQueue(queue) as receiver:
                try:
                    while True:
                        message = receiver.get(block=False)
                        message.ack()
                        got.append(message.payload)
                except Empty:
                    return

        readers = [threading.Thread(target=read) for _ in range(4)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        assert sorted(got) == list(range(200))

    def test_queues_are_apart_and_purged(self, tmp_path: Path, settings: Settings) -> None:
        sender = Sender(settings)
        assert sender.job("j1") and sender.task("chains", "s", "k") and sender.task("unknown", "s", "k")
        names = sorted(p.name.split(".")[1] for p in (settings.data_dir / "broker").iterdir())
        assert names == ["chains", "chains", "jobs"]
        link, queue = self.queue(settings.data_dir / "broker")
        with link, link.SimpleQueue(queue) as jobs_queue:
            assert jobs_queue.clear() == 1


def test_a_broker_that_is_away_is_no_error(settings: Settings) -> None:
    away = settings.model_copy(update={"broker_url": "redis://127.0.0.1:1/0"})
    assert Sender(away).job("j1") is False


def test_settings_survive_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = Settings(
        _env_file=None,
        data_dir=tmp_path,
        archive=[tmp_path / "a", tmp_path / "b"],
        secret_key=SecretStr("hidden"),
        fetch_allow=["10.0.0.0/8"],
        oidc_providers=[{"id": "x", "issuer": "https://x"}],
        skip_unreadable=True,
        memory_limit=123,
    )
    variables = environment(given)
    assert "hidden" not in str(variables)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert Settings(_env_file=None).model_dump() == given.model_dump() | {"secret_key": None}


class TestReaper:
    def reaper(self, settings: Settings, database: Database) -> Reaper:
        return Reaper(settings, database, Sender(settings))

    def messages(self, settings: Settings) -> int:
        folder = settings.data_dir / "broker"
        return len(list(folder.iterdir())) if folder.is_dir() else 0

    def test_sends_what_nobody_works_on(self, settings: Settings, database: Database) -> None:
        lost, alive, dead, waiting = (new_job(database) for _ in range(4))
        with database.session() as session:
            for job_id in (lost, alive, dead, waiting):
                jobs.transition(session, job_id, ["created"], "queued")
            jobs.claim(session, alive, "w1", 60)
            jobs.claim(session, dead, "w2", -1)
            jobs.claim(session, waiting, "w3", 60)
            stages.submit(session, "s", "toy", "chains", {"k": {}})
            jobs.wait_for_stage(session, waiting, "w3", "s")
            stages.claim_task(session, "s", "k", "w4", -1)
        assert self.reaper(settings, database).look() == 3  # lost, dead, the stage's task
        assert self.messages(settings) == 3
        # a dead worker's lease stays expired until somebody claims it; what was merely sent is left alone for a while
        with database.session(read_only=True) as session:
            assert lost not in jobs.expired(session, unsent_for=60)

    def test_sends_nothing_without_need_and_survives_a_dead_broker(
        self, settings: Settings, database: Database
    ) -> None:
        assert self.reaper(settings, database).look() == 0
        job_id = new_job(database)
        with database.session() as session:
            jobs.transition(session, job_id, ["created"], "queued")
        away = settings.model_copy(update={"broker_url": "redis://127.0.0.1:1/0"})
        assert Reaper(away, database, Sender(away)).look() == 0
        assert self.reaper(settings, database).look() == 1

    def test_looks_by_itself(self, settings: Settings, database: Database) -> None:
        job_id = new_job(database)
        with database.session() as session:
            jobs.transition(session, job_id, ["created"], "queued")
        done = threading.Event()
        with self.reaper(settings, database):
            for _ in range(50):
                if self.messages(settings):
                    done.set()
                    break
                done.wait(0.1)
        assert done.is_set()


class TestKeeper:
    def keeper(self, database: Database, job_id: str, **changes: object) -> Keeper:
        return Keeper(
            database,
            lambda s, p: jobs.heartbeat(s, job_id, "me", lease_seconds=0.3, progress=p),
            lambda s: jobs.get(s, job_id).lease_owner == "me",
            lease_seconds=0.3,
            sources=lambda _: [job_id],
            **changes,
        )

    @pytest.fixture
    def job_id(self, database: Database) -> str:
        made = new_job(database)
        with database.session() as session:
            jobs.transition(session, made, ["created"], "queued")
            assert jobs.claim(session, made, "me", 0.3)
        return made

    def pause(self) -> None:
        threading.Event().wait(0.12)

    def test_renews_writes_progress_and_log(self, database: Database, job_id: str) -> None:
        keeper = self.keeper(database, job_id, level="info", base=50.0)
        keeper.progress(0.5)
        keeper.log(Log("info", "seen"))
        keeper.log(Log("debug", "not asked for"))
        self.pause()
        keeper.check()
        with database.session(read_only=True) as session:
            job = jobs.get(session, job_id)
            assert job.progress == pytest.approx(74.5) and job.lease_until > now()
            assert [e.message for e in jobs.logs(session, job_id)] == ["seen"]

    @pytest.mark.parametrize("busy", [True, False])
    def test_notices_that_the_job_is_no_longer_ours(self, database: Database, job_id: str, busy: bool) -> None:
        keeper = self.keeper(database, job_id)
        with database.session() as session:
            jobs.transition(session, job_id, ["running"], "canceled")
        if busy:
            keeper.progress(0.1)
        self.pause()
        with pytest.raises(LeaseLost):
            keeper.check()

    def test_a_database_that_is_away_is_waited_for_until_the_lease_ends(self, database: Database, job_id: str) -> None:
        keeper = self.keeper(database, job_id)

        def away(*_: object) -> bool:
            raise OperationalError("select", {}, Exception("away"))

        keeper._alive = keeper._beat = away
        self.pause()
        keeper.check()
        threading.Event().wait(0.3)
        with pytest.raises(LeaseLost):
            keeper.check()

    def test_stops_when_the_worker_is_told_to(self, database: Database, job_id: str) -> None:
        STOPPING.set()
        try:
            with pytest.raises(ShutDown):
                self.keeper(database, job_id).check()
        finally:
            STOPPING.clear()


def test_how_a_process_died() -> None:
    assert Died(-9, False, 0).how == "signal 9 (SIGKILL)" and Died(3, False, 0).how == "exit status 3"
    assert "2.0 GiB" in out_of_memory(2 << 30, 1 << 30).message
    assert Usage(1.234, 10, 100 << 20).to_json()["memory"] == {"value": 1000, "unit": "mb-seconds"}


def test_starts_that_race_queue_a_job_once(settings: Settings, database: Database) -> None:
    """A client that asks again while its first request is still on the way."""
    with database.session() as session:
        ada = users.by_name(session, "ada")
        assert ada is not None
        job_id = jobs.create(session, ada.id, {"process_graph": {}}).id
    told: list[str] = []
    queue = JobQueue(settings, database)
    queue._sender.job = lambda id: told.append(id) or True  # type: ignore[method-assign, func-returns-value]
    threads = [threading.Thread(target=queue.start, args=(job_id,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == [job_id]
    with database.session() as session:
        assert jobs.claim(session, job_id, "worker") is not None
    queue.start(job_id)
    with database.session(read_only=True) as session:
        job = jobs.get(session, job_id)
    assert (
        told == [job_id] and job is not None and (job.status, job.lease_owner, job.attempt) == ("running", "worker", 1)
    )
