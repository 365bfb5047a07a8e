"""Dagster follows what is stored, and schedules and policies are kept, whatever dies and however many serve.

The platform has two REST services, and two of Dagster's daemons, of which one is killed. Its records are in
PostgreSQL. `make test-long` makes a thousand random changes. It also runs a second platform beside the first,
with its records in SQLite, so that both wait for the same minutes.
"""

import hashlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from effort import LONG, times
from live_platform import LivePlatform, make_keyring, running
from postgres_server import PostgresServer
from sqlalchemy import select, update
from waiting import eventually, free_port

from headrace.naming import job_name, schedule_name
from headrace.records import JobCard
from headrace.store.database import Database
from headrace.store.jobs import JobStore
from headrace.store.schema import pipelines, runs, slots

pytestmark = pytest.mark.slow

CHANGES = times("CHANGES", 60, 1000)
BATCH = 20
SEED = 20261125
VISIBLE_SECONDS = (
    30.0  # a second by design; the rest is for a process that was just killed, and a busy machine
)
KINDS = ("sqlite", "postgres") if LONG else ("postgres",)
MINUTE = timedelta(minutes=1)
MISSED = ("none", "latest", "all")
AWAY = 5 * MINUTE
JITTER_SECONDS = 20

CREATURES = {"name": "dummy", "stream": "creatures"}
LONG = {**CREATURES, "records": 100_000, "sleep": 0.2}
ENDLESS = {**CREATURES, "records": 1_000_000, "sleep": 0.2}  # half an hour
ENDLESS_RUNS = 4  # two of the schedules' and two of the test of many changes
ZONES = ("UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns")
CRONS = (None, "0 3 * * *", "30 6 * * mon-fri", "0 0 1 1 *", "@weekly")

SHOWN = """{ repositoriesOrError { ... on RepositoryConnection { nodes {
  jobs { name description }
  schedules { name cronSchedule executionTimezone scheduleState { status } } } } } }"""
RELOAD = (
    """mutation { reloadRepositoryLocation(repositoryLocationName: "headrace_dagster") { __typename } }"""
)
OF_RUN = """query ($tag: String!) {
  runs: runsOrError(filter: {tags: [{key: "headrace/run_id", value: $tag}]}) {
    ... on Runs { results { runId status tags { key value } } }
  }
}"""

FLAKY = '''
from pathlib import Path
from headrace.connectors import Unreachable

def flaky(calls, failures):
    """Fail so many times, then yield a record."""
    file = Path(calls)
    file.write_text(file.read_text() + "x" if file.exists() else "x")
    if len(file.read_text()) <= failures:
        raise Unreachable("The system is away.")
    yield {"id": 1}
'''


@dataclass
class Cluster:
    """A platform with a second REST service and a second daemon."""

    platform: LivePlatform
    services: list[httpx.Client]
    scheduled: dict[str, str] = field(default_factory=dict)  # pipelines by what they show
    first_run: str = ""  # of the pipeline that is busy

    def stored(self) -> dict[str, Any]:
        """What Dagster has to show: jobs by name with the pipeline's name, schedules by name."""
        with closing(Database(self.platform.settings.sqlalchemy_url)) as database:
            _, cards, _ = JobStore(database).changed_after(0)
        return {job_name(card.pipeline_id): card.name for card in cards} | {
            schedule_name(card.pipeline_id): schedule_of(card) for card in cards if card.schedule
        }

    def shown(self) -> dict[str, Any]:
        """What Dagster shows, in the same form."""
        (repository,) = self.platform.graphql(SHOWN)["repositoriesOrError"]["nodes"]
        jobs = {job["name"]: job["description"].split("\n")[0] for job in repository["jobs"]}
        return jobs | {
            schedule["name"]: (
                schedule["cronSchedule"],
                schedule["executionTimezone"],
                schedule["scheduleState"]["status"] == "RUNNING",
            )
            for schedule in repository["schedules"]
        }

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Have any of the services that is up do something; a killed one is passed over."""
        for service in random.sample(self.services, len(self.services)):
            try:
                answer = service.request(method, f"/api{path}", json=body)
            except httpx.TransportError:
                continue
            assert answer.status_code < 300, answer.text
            return answer.json() if answer.content else None
        raise AssertionError("No service answers.")

    def ledger(self, what: str) -> list[dict[str, Any]]:
        """Return the past slots of a scheduled pipeline, oldest first."""
        view = self.platform.call("GET", f"/pipelines/{self.scheduled[what]}/schedule")
        return list(reversed(view["past"]))


def schedule_of(card: JobCard) -> tuple[str | None, str, bool]:
    return card.schedule, card.timezone, card.enabled


@pytest.fixture(scope="module")
def clusters(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer
) -> Iterator[dict[str, Cluster]]:
    """The platforms, with pipelines whose schedules fire each minute while the tests go on."""
    with ExitStack() as stack:
        platforms = {}
        for kind in KINDS:
            home = tmp_path_factory.mktemp(f"cluster-{kind}") / "home"
            url = postgres_server.fresh_database() if kind == "postgres" else None
            if url:
                make_keyring(home)
            platforms[kind] = stack.enter_context(running(home, database_url=url, ready=False))
        made = {}
        for kind, platform in platforms.items():
            platform.wait_ready()
            made[kind] = Cluster(platform, [platform.api, stack.enter_context(service(platform))])
            stack.enter_context(process(platform, "daemon", "headrace_dagster.daemon"))
            schedule(made[kind])
        yield made


@pytest.fixture(params=KINDS)
def cluster(request: pytest.FixtureRequest, clusters: dict[str, Cluster]) -> Cluster:
    return clusters[str(request.param)]


@contextmanager
def process(
    platform: LivePlatform, part: str, module: str, **environment: str
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run one more process of a kind on the platform's home."""
    inherited = platform.part(part).environ() | environment
    with (platform.home / "logs" / f"second-{module}.log").open("ab") as log:
        started = subprocess.Popen([sys.executable, "-m", module], env=inherited, stdout=log, stderr=log)
    try:
        yield started
    finally:
        started.kill()
        started.wait()


@contextmanager
def service(platform: LivePlatform) -> Iterator[httpx.Client]:
    """Run one more REST service, on a port of its own."""
    port = free_port()
    headers = {"Authorization": f"Bearer {platform.token}"}
    with (
        process(platform, "api", "headrace_api", HEADRACE_PORT=str(port)),
        httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=30) as client,
    ):
        eventually(lambda: answers(client), seconds=60, what="The start of one more service")
        yield client


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/api/health").status_code == 200
    except httpx.TransportError:
        return False


def schedule(cluster: Cluster) -> None:
    """Create the pipelines whose schedules fire each minute."""
    create, minutely = cluster.platform.create, {"schedule": "* * * * *"}
    queueing = {"overlap": "queue"}
    cluster.scheduled = {
        "plain": create("Plain", CREATURES, **minutely),
        "busy": create("Busy", ENDLESS, **minutely),
        "queueing": create("Queueing", ENDLESS, **minutely, policy=queueing),
        "disabled": create("Disabled", CREATURES, **minutely, enabled=False),
    }
    for missed in MISSED:
        cluster.scheduled[missed] = create(missed, CREATURES, **minutely, policy={"missed": missed})
    cluster.scheduled["jitter"] = create(
        "Jitter", CREATURES, **minutely, policy={"jitter_seconds": JITTER_SECONDS}
    )
    cluster.first_run = cluster.platform.run(cluster.scheduled["busy"])
    cluster.platform.run(cluster.scheduled["queueing"])


def test_dagster_shows_what_is_stored_after_each_of_many_random_changes(cluster: Cluster) -> None:
    platform, dice = cluster.platform, random.Random(SEED)
    long = [platform.run(platform.create(f"In flight {n}", ENDLESS)) for n in range(2)]
    before = [platform.run_that(run_id, "running", seconds=60) for run_id in long]
    workers = platform.workers()
    mine: list[str] = []
    launched: list[str] = []
    deaths = {1: "api", 2: "code"}
    seconds: list[float] = []

    for number in range(CHANGES):
        batch, place = divmod(number, BATCH)
        change(cluster, dice, mine)
        # Seldom enough for the supervisor not to take them for a loop of crashes.
        death = deaths.get(batch % 8) if place == BATCH - 1 else None
        if death:
            platform.part(death).kill()
        seconds.append(agrees(cluster))
        if death:
            eventually(platform.is_ready, seconds=60, what="Readiness again")
        if mine and place == BATCH - 1:
            launched.append(cluster.call("POST", f"/pipelines/{dice.choice(mine)}/run")["id"])
            platform.run_that(launched[-1], "success", seconds=60)

    assert len(launched) > 2
    after = [platform.run_view(run_id) for run_id in long]
    same = ("status", "attempt", "dagster_run_id", "started_at")
    assert [[run[name] for name in same] for run in after] == [[run[name] for name in same] for run in before]
    alive = [worker for worker in workers if worker.is_running()]  # whatever became of their code server
    assert len(alive) >= ENDLESS_RUNS
    tell(cluster, seconds)
    for run_id in long:
        platform.call("POST", f"/pipelines/runs/{run_id}/cancel")


def change(cluster: Cluster, dice: random.Random, mine: list[str]) -> None:
    """Do one thing at random, by any service; `mine` are the pipelines that may be changed."""
    what = dice.choices(("create", "change", "delete", "reload"), (8, 8, 5, 1))[0]
    if what == "reload":
        cluster.platform.graphql(RELOAD)
    elif what == "create" or not mine:
        config = {"name": "x", "source": CREATURES, "destination": {"name": "logger"}}
        body = {"name": name(dice), "config": config, "tags": ["random"], **settings(dice)}
        mine.append(cluster.call("POST", "/pipelines", body)["id"])
    elif what == "change":
        cluster.call("PUT", f"/pipelines/{dice.choice(mine)}", {"name": name(dice), **settings(dice)})
    else:
        cluster.call("DELETE", f"/pipelines/{mine.pop(dice.randrange(len(mine)))}")


def name(dice: random.Random) -> str:
    return f"Pipeline {dice.randrange(10**6)}"


def settings(dice: random.Random) -> dict[str, Any]:
    zone, cron = dice.choice(ZONES), dice.choice(CRONS)
    return {"schedule": cron, "timezone": zone, "enabled": dice.random() < 0.7}


def agrees(cluster: Cluster) -> float:
    """Wait until Dagster shows exactly what is stored; return how many seconds that took."""
    began = time.monotonic()
    wanted = cluster.stored()
    seen: dict[str, Any] = {}

    def look() -> bool:
        nonlocal seen
        try:
            seen = cluster.shown()
        except (httpx.TransportError, ValueError, KeyError):
            return False
        return seen == wanted

    try:
        eventually(look, seconds=VISIBLE_SECONDS, what="Agreement")
    except AssertionError:
        assert seen == wanted
    return time.monotonic() - began


def tell(cluster: Cluster, seconds: list[float]) -> None:
    """Print how long agreement took, for `pytest -s`."""
    ordered = sorted(seconds)
    told = ", ".join(f"p{share} {ordered[len(ordered) * share // 100]:.2f} s" for share in (50, 90, 99))
    shown = len(cluster.shown())
    sys.stdout.write(
        f"\n{len(ordered)} changes, {shown} definitions at the end; agreement after {told},"
        f" at most {ordered[-1]:.2f} s\n"
    )


def test_a_run_whose_error_passes_is_tried_again_and_each_attempt_is_visible(
    cluster: Cluster, headrace: Callable[..., str]
) -> None:
    platform = cluster.platform
    calls = platform.home.with_name("calls")
    (platform.home / "connectors").mkdir(exist_ok=True)
    (platform.home / "connectors" / "flaky.py").write_text(FLAKY)
    params = {"calls": str(calls), "failures": 2}
    source = {"name": "python", "stream": "any", "function": "flaky:flaky", "params": params}
    policy = {"max_attempts": 3, "retry_delay_seconds": 1}

    run_id = platform.run(platform.create("Flaky", source, policy=policy))
    run = platform.ended_run(run_id, seconds=90)

    assert (run["status"], run["attempt"], run["rows"], run["error"]) == ("success", 3, 1, None)
    assert [attempt["attempt"] for attempt in run["attempts"]] == [1, 2]
    assert {attempt["error_code"] for attempt in run["attempts"]} == {"connector.unreachable"}
    began, again = (datetime.fromisoformat(attempt["finished_at"]) for attempt in run["attempts"])
    assert datetime.fromisoformat(run["started_at"]) - again >= timedelta(seconds=1)  # to the second
    assert again > began
    ids = [*(attempt["dagster_run_id"] for attempt in run["attempts"]), run["dagster_run_id"]]
    known = {"1": (ids[0], "FAILURE"), "2": (ids[1], "FAILURE"), "3": (ids[2], "SUCCESS")}
    eventually(lambda: attempts_in_dagster(platform, run_id) == known, seconds=20, what=f"{known}")
    assert json.loads(headrace(cluster, "runs", "show", run_id, "--json"))["attempts"] == run["attempts"]
    told = headrace(cluster, "runs", "show", run_id)
    assert told.count("connector.unreachable") == 2
    assert "Earlier attempts" in told


def attempts_in_dagster(platform: LivePlatform, run_id: str) -> dict[str, tuple[str, str]]:
    return {
        tag["value"]: (found["runId"], found["status"])
        for found in platform.graphql(OF_RUN, tag=run_id)["runs"]["results"]
        for tag in found["tags"]
        if tag["key"] == "headrace/attempt"
    }


def test_an_attempt_that_takes_too_long_is_ended_and_tried_again(cluster: Cluster) -> None:
    platform = cluster.platform
    policy = {"max_attempts": 2, "retry_delay_seconds": 0, "timeout_seconds": 2}

    run = platform.ended_run(platform.run(platform.create("Slow", LONG, policy=policy)), seconds=90)

    assert (run["status"], run["error_code"], run["attempt"]) == ("failed", "run.timed_out", 2)
    assert [attempt["error_code"] for attempt in run["attempts"]] == ["run.timed_out"]


@pytest.fixture(scope="module")
def killed_after(clusters: dict[str, Cluster]) -> int:
    """Kill one of the two daemons of each platform; return how many slots each had taken by then at most."""
    for cluster in clusters.values():
        eventually(lambda: cluster.ledger("plain"), seconds=180, what="The first slot")  # noqa: B023
    taken = 0
    for cluster in clusters.values():
        taken = max(taken, len(cluster.ledger("plain")))
        cluster.platform.part("daemon").kill()
        change = {"name": "Renamed", "schedule": "*/1 * * * *"}
        cluster.platform.call("PUT", f"/pipelines/{cluster.scheduled['plain']}", change)
        be_away(cluster)
    return taken


def be_away(cluster: Cluster) -> None:
    """Move what some pipelines had so far into the past, as if no daemon had been there since."""
    ids = [UUID(cluster.scheduled[missed]) for missed in MISSED]
    with closing(Database(cluster.platform.settings.sqlalchemy_url)) as database, database.write() as writing:
        made = select(pipelines.c.id, pipelines.c.created_at).where(pipelines.c.id.in_(ids))
        for id_, created_at in writing.execute(made).all():
            earlier = {"created_at": created_at - AWAY}
            writing.execute(update(pipelines).where(pipelines.c.id == id_).values(earlier))
        taken = select(slots.c.pipeline_id, slots.c.scheduled_at).where(slots.c.pipeline_id.in_(ids))
        for id_, slot in writing.execute(taken.order_by(slots.c.scheduled_at)).all():
            for table in (slots, runs):
                its = (table.c.pipeline_id == id_) & (table.c.scheduled_at == slot)
                writing.execute(update(table).where(its).values(scheduled_at=slot - AWAY))


def test_each_slot_is_taken_once_by_two_daemons_of_which_one_was_killed(
    cluster: Cluster, killed_after: int
) -> None:
    platform = cluster.platform
    pipeline = cluster.scheduled["plain"]

    eventually(lambda: len(cluster.ledger("plain")) > killed_after, seconds=150, what="A slot after the kill")
    past = cluster.ledger("plain")
    for slot in past:
        platform.ended_run(slot["run_id"], seconds=60)

    slots = [datetime.fromisoformat(slot["scheduled_at"]) for slot in past]
    assert slots == [slots[0] + n * MINUTE for n in range(len(slots))]
    made = [run for run in map(platform.run_view, ids_of(platform, pipeline)) if run["scheduled_at"]]
    made.sort(key=lambda run: str(run["scheduled_at"]))
    assert [run["scheduled_at"] for run in made[: len(past)]] == [slot["scheduled_at"] for slot in past]
    assert {(run["status"], run["attempt"]) for run in made[: len(past)]} == {("success", 1)}
    assert {slot["outcome"] for slot in past} == {"run"}


def test_the_ledger_tells_what_became_of_each_slot_and_why(cluster: Cluster) -> None:
    platform = cluster.platform
    view = platform.call("GET", f"/pipelines/{cluster.scheduled['plain']}/schedule")
    coming = [datetime.fromisoformat(slot) for slot in view["next"]]

    assert coming == [coming[0] + n * MINUTE for n in range(10)]
    skipped = eventually(lambda: cluster.ledger("busy"), seconds=180, what="A skipped slot")
    assert {(slot["outcome"], slot["run_id"]) for slot in skipped} == {("skipped", None)}
    assert all(cluster.first_run in slot["reason"] for slot in skipped)
    waiting = eventually(lambda: cluster.ledger("queueing"), seconds=180, what="A waiting slot")
    assert {slot["outcome"] for slot in waiting} == {"waiting"}
    (active,) = platform.call("GET", f"/pipelines/{cluster.scheduled['queueing']}/runs")
    platform.call("POST", f"/pipelines/runs/{active['id']}/cancel")
    admitted = eventually(
        lambda: cluster.ledger("queueing")[0]["run_id"], seconds=30, what="The waiting slot's run"
    )
    assert platform.run_view(admitted)["scheduled_at"] == waiting[0]["scheduled_at"]
    disabled = platform.call("GET", f"/pipelines/{cluster.scheduled['disabled']}/schedule")
    assert (disabled["next"], disabled["past"]) == ([], [])


@pytest.mark.parametrize(
    ("missed", "reason"),
    [
        ("none", "The slot was missed, and the pipeline skips missed slots."),
        ("latest", "The slot was missed, and so was a later one."),
        ("all", None),
    ],
)
@pytest.mark.usefixtures("killed_after")
def test_slots_that_nobody_was_there_for_are_made_up_for_as_the_policy_says(
    cluster: Cluster, missed: str, reason: str | None
) -> None:
    platform = cluster.platform

    def past() -> list[dict[str, Any]]:
        """The ledger, once the time away is over and nothing waits any more."""
        found = cluster.ledger(missed)
        spans = len(found) > 1 and time_of(found[-1]) - time_of(found[0]) >= AWAY
        return found if spans and all(slot["outcome"] != "waiting" for slot in found) else []

    ledger = eventually(past, seconds=150, what=f"The end of the time away, {missed}")

    times = [time_of(slot) for slot in ledger]
    assert times == [times[0] + n * MINUTE for n in range(len(times))]
    assert {slot["reason"] for slot in ledger if slot["outcome"] == "skipped"} == (
        {reason} if reason else set()
    )
    ran = [slot for slot in ledger if slot["outcome"] == "run"]
    assert len(ledger) - len(ran) == (0 if missed == "all" else AWAY // MINUTE)
    assert len({slot["run_id"] for slot in ran}) == len(ran)
    for slot in ran:
        assert platform.ended_run(slot["run_id"], seconds=60)["status"] == "success"


def time_of(slot: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(slot["scheduled_at"])


def test_jitter_puts_off_a_start_by_the_pipelines_own_share(cluster: Cluster) -> None:
    pipeline = cluster.scheduled["jitter"]
    share = int.from_bytes(hashlib.sha256(UUID(pipeline).bytes).digest()[:4]) / 2**32

    [slot, *_] = eventually(lambda: cluster.ledger("jitter"), seconds=180, what="A slot")
    run = cluster.platform.ended_run(slot["run_id"], seconds=JITTER_SECONDS + 60)

    late = datetime.fromisoformat(run["started_at"]) - time_of(slot)
    share_of_jitter = timedelta(seconds=int(share * JITTER_SECONDS))  # times over REST are to the second
    assert share_of_jitter <= late < share_of_jitter + timedelta(seconds=15)
    assert (slot["outcome"], run["status"]) == ("run", "success")


def ids_of(platform: LivePlatform, pipeline: str) -> list[str]:
    return [run["id"] for run in platform.runs_of(pipeline)]


@pytest.fixture
def headrace() -> Callable[..., str]:
    """Runs the command on a platform's home, and returns what it printed."""

    def run(cluster: Cluster, *arguments: str) -> str:
        command = [
            sys.executable,
            "-m",
            "headrace.cli.main",
            *arguments,
            "--home",
            str(cluster.platform.home),
        ]
        environment = os.environ | {"COLUMNS": "200"}
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout

    return run
