"""A random history as data: pipelines, and steps that change them, their sources and the world around them.

A history follows from its seed alone. It is JSON, so that a history that went wrong can be shortened, printed
and stored.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

Step = dict[str, Any]

RECORDS = ("sqlite", "postgres")
SOURCES = ("postgres", "sqlite", "rest")
DESTINATIONS = ("postgres", "sqlite", "duckdb", "file")
MODES = ("replace", "append", "merge")
PARTS = ("api", "code", "fork", "worker", "webserver", "daemon", "up", "all")
PAUSED = ("api", "code", "worker", "worker", "worker", "webserver", "daemon")
POINTS = ("extracting", "writing", "written", "loaded", "committed", "ended")
LEASE_SECONDS = 4
"""The lease of the platforms that histories play on: shorter than by default, so that histories are."""

_STEPS = {
    "grow": 14, "run": 22, "cancel": 6, "change": 3, "duplicate": 2, "delete": 2, "kill": 12, "pause": 6,
    "records": 6, "network": 6, "hold": 5, "fault": 6, "unanswered": 5, "full": 2, "clock": 1, "second": 2,
    "lose": 5, "wait": 4,
}  # fmt: skip
_RECORDS_FAULTS = {
    "sqlite": ("locked",),
    "postgres": ("stopped", "frozen", "read_only", "cut", "silent", "slow"),
}
# What no worker notices for long: a run that nobody cancelled must succeed under these.
_HARMLESS = frozenset(
    {"grow", "run", "cancel", "change", "duplicate", "delete", "unanswered", "wait", "records", "clock"}
    | {"second"}
)
_HARMLESS_PARTS = frozenset({"api", "webserver", "daemon"})


@dataclass(frozen=True, kw_only=True)
class History:
    """What is played on one platform, in a few seconds."""

    seed: int
    records: str
    pipelines: tuple[Step, ...]
    steps: tuple[Step, ...]

    @property
    def is_harmless(self) -> bool:
        """Whether all faults are such that no run may be lost by them."""
        return all(map(_is_harmless, self.steps))

    def with_steps(self, steps: tuple[Step, ...]) -> "History":
        """Return the history with other steps."""
        return History(seed=self.seed, records=self.records, pipelines=self.pipelines, steps=steps)

    def as_json(self) -> str:
        """Return the text in which a history is stored."""
        lines = ",\n".join(f"  {json.dumps(step)}" for step in self.steps)
        head = {key: value for key, value in asdict(self).items() if key != "steps"}
        return f'{json.dumps(head)[:-1]}, "steps": [\n{lines}\n]}}\n'

    @classmethod
    def read(cls, path: Path) -> "History":
        """Read a stored history."""
        found = json.loads(path.read_text())
        return cls(
            seed=found["seed"],
            records=found["records"],
            pipelines=tuple(found["pipelines"]),
            steps=tuple(found["steps"]),
        )


def history_of(seed: int, records: str, *, has_clock: bool = False) -> History:
    """Return the history of a seed."""
    rng = Random(f"{seed}-{records}")
    pipelines = tuple(_pipeline(rng) for _ in range(rng.choice((1, 1, 2))))
    steps: list[Step] = [{"do": "run", "on": 0, "wait": round(rng.uniform(0, 2), 2)}]
    while len(steps) < rng.randint(7, 11):
        steps += _step(rng, records, len(pipelines), has_clock=has_clock)
    return History(seed=seed, records=records, pipelines=pipelines, steps=tuple(steps))


def _pipeline(rng: Random) -> Step:
    destination = rng.choice(DESTINATIONS)
    return {
        "source": rng.choice(SOURCES),
        "destination": destination,
        "mode": rng.choice(MODES[:2] if destination == "file" else MODES),
        "rows": rng.choice((20, 200, 5_000)),
        "attempts": rng.choice((1, 1, 2, 3)),
        "slow": rng.choice((0, 0, 0.5, 1.5)),  # seconds that the source takes, if it can be slow
    }


def _step(rng: Random, records: str, pipelines: int, *, has_clock: bool) -> list[Step]:
    do = rng.choices(tuple(_STEPS), tuple(_STEPS.values()))[0]
    step: Step = {"do": do, "on": rng.randrange(pipelines)}
    if do == "clock" and not has_clock:
        do = step["do"] = "wait"
    step |= _details(rng, records, do)
    # Two faults at once are as likely as two after one another.
    step["wait"] = round(rng.choice((0, 0, 0.1, 0.5, rng.uniform(0, 3))), 2)
    if do in ("kill", "pause", "hold", "lose", "fault", "network", "full", "records") and rng.random() < 0.6:
        # A fault without work under way finds nothing.
        run = {"do": "run", "on": step["on"], "wait": round(rng.uniform(0, 2.5), 2)}
        grow = {"do": "grow", "on": step["on"], "rows": 10, "wait": 0}
        if do == "hold" and rng.random() < 0.7:
            # A successor starts while a message of its predecessor is still on its way.
            return [grow, step, run, {"do": "cancel", "on": step["on"], "wait": 0}, run]
        return [grow, run, step] if do in ("kill", "pause", "records") else [step, run]
    return [step]


def _details(rng: Random, records: str, do: str) -> Step:
    match do:
        case "grow":
            return {"rows": rng.choice((1, 10, 300))}
        case "kill":
            return {"part": rng.choices(PARTS, (4, 4, 2, 8, 3, 2, 1, 2))[0]}
        case "pause":
            return {"part": rng.choice(PAUSED), "seconds": rng.choice((1, LEASE_SECONDS + 3))}
        case "records":
            return {"what": rng.choice(_RECORDS_FAULTS[records]), "seconds": rng.choice((1, 3, 7))}
        case "network":
            return {"what": rng.choice(("cut", "silent", "slow")), "seconds": rng.choice((0.5, 2, 6))}
        case "hold":
            return {"message": rng.choice(("COMMIT", "COMMIT", rng.randint(1, 30))),
                    "seconds": rng.choice((2, LEASE_SECONDS + 4))}  # fmt: skip
        case "fault":
            return {"point": rng.choice(POINTS), "action": rng.choice(("kill", "kill", "raise"))}
        case "unanswered":
            return {"request": rng.choice(("create", "run", "run", "duplicate", "change", "cancel")),
                    "how": rng.choices(("drop", "hang_up", "kill"), (6, 6, 1))[0]}  # fmt: skip
        case "full":
            return {"seconds": rng.choice((1, 4))}
        case "lose":
            return {"where": rng.choice(("records", "data")) if records == "postgres" else "data"}
        case "second":
            return {"seconds": rng.choice((3, 8))}
        case "clock":
            return {"by": rng.choice((-3600, -60, 60, 3600)), "seconds": rng.choice((3, 8))}
        case _:
            return {}


def _is_harmless(step: Step) -> bool:
    if step["do"] in ("kill", "pause"):
        return step["part"] in _HARMLESS_PARTS
    if step["do"] == "lose":
        return bool(step["where"] == "records")
    return step["do"] in _HARMLESS
