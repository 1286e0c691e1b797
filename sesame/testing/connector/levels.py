"""Quality levels, decided by the suite's results and the connector's declarations.

After Home Assistant's quality scale (developers.home-assistant, `integration-quality-scale`): a connector
declares a level, and a machine decides whether it is reached.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from consumers.kit import registration
from consumers.kit.connector import Anything, Level
from sesame.testing.connector.bench import ConnectorBench, Skipped
from sesame.testing.connector.checks import CHECKS

_GOLD: Final = (
    "objects_shows_everybody_once",
    "what_others_change_is_told_since_a_mark",
    "an_adopted_object_is_the_students",
    "erased_means_not_found",
)
_BRONZE: Final = (
    "the_probe_succeeds",
    "a_new_student_is_there_when_it_is_said",
    "the_second_run_plans_nothing_and_writes_nothing",
    "only_what_differs_is_written",
    "nothing_is_announced_that_was_not_read_back",
    "nobody_without_access_gets_an_object",
    "only_who_was_asked_for_is_answered",
    "names_of_any_letters_are_written_as_they_are",
    "an_empty_call_touches_no_student",
    "it_describes_what_it_owns",
    "every_reason_has_words",
)
ASKED: Final[Mapping[Level, Sequence[str]]] = {
    "bronze": _BRONZE,
    "silver": [name for name in CHECKS if name not in (*_BRONZE, *_GOLD)],
    "gold": _GOLD,
}
"""The checks that each level asks, with all below it. Platinum: all of them on the real product."""

Outcomes = dict[str, Exception | None]
"""By check: None: passed; what it raised."""


def run(bench: ConnectorBench, name: str, outcomes: Outcomes) -> None:
    """Run one check, and note its outcome. Raises what the check does."""
    try:
        CHECKS[name](bench)
    except Exception as error:
        outcomes[name] = error
        raise
    outcomes[name] = None


def obstacles(connector: type[Anything], level: Level, outcomes: Outcomes) -> list[str]:
    """What keeps a connector from a level; empty: it is reached."""
    found = []
    for each, names in ASKED.items():
        for name in names:
            said = outcomes.get(name, AssertionError("it was not run"))
            if isinstance(said, Skipped) and (not said.missing or said.missing in connector.lacks):
                continue
            if said is not None:
                found.append(f"{each}: {name}: {said}")
        if each == level:
            break
    if level == "platinum":
        record = registration.proof(connector)
        lacking = [name for name, said in outcomes.items() if said is None and name not in record.passed]
        dated = record.product and record.on is not None
        found += [] if dated else [f"platinum: no {registration.PROOF} of a run on the real product"]
        found += [f"platinum: {name}: not in {registration.PROOF}" for name in lacking]
    return found


def record(bench: ConnectorBench, outcomes: Outcomes) -> None:
    """Write the record of this run, if it was on the real product."""
    if bench.product:
        passed = tuple(sorted(name for name, said in outcomes.items() if said is None))
        made = registration.ProvenRun(product=bench.product, on=datetime.now(UTC).date(), passed=passed)
        path = registration.proof_file(bench.connector)
        path.write_text(made.model_dump_json(indent=1) + "\n", encoding="utf-8")
