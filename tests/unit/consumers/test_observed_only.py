"""A target that is only observed is never done: what it would be given is told until somebody switches it."""

from __future__ import annotations

from pathlib import Path

from consumers.propagation.window import PropagationState, SeenOutcome, judge
from pipeline import parking
from pipeline.parking import Kind
from pipeline.target import OBSERVED_ONLY, WHEN_RUNG, Task, Waiting
from schemas.events import TargetProvisioned, TargetWaiting
from sesame.app.observability.metrics import Metrics
from sesame.app.wiring import build
from sesame.operations.people.diagnosis import observed
from sesame.operations.people.diagnosis.overview import show
from sesame.settings import Settings
from sesame.testing.servers.pipeline_kit import Plant, live_plant
from sesame.testing.servers.population_kit import OPERATOR, site_of

plant = live_plant


def observing(task: Task) -> Waiting:
    """What an observer says: student B differs in nothing."""
    differing = () if task.account.student_number == "B" else ("mail", "sn")
    return Waiting(OBSERVED_ONLY, differing, WHEN_RUNG)


def follow(plant: Plant, *numbers: str) -> None:
    for number in numbers:
        plant.account(number)
        plant.ring(number)
    plant.start()
    plant.until(lambda: len(plant.outcomes()) >= len(numbers))


def test_who_was_observed_is_not_provisioned_and_not_looked_at_again_until_somebody_asks(
    plant: Plant,
) -> None:
    plant.target.script = observing
    follow(plant, "A")
    plant.stop()
    with plant.database.read() as connection:
        lot = parking.parked_of(connection, "directory", ["A"])["A"]
    assert (lot.kind, lot.due_at, lot.attempts) == (Kind.WAITING, None, 0)
    assert plant.applied("A") == 0
    (said,) = plant.outcomes()
    assert isinstance(said, TargetWaiting)
    assert (said.reason, said.pending) == (OBSERVED_ONLY, ("mail", "sn"))


def test_switched_to_write_a_replay_brings_everybody_over(plant: Plant) -> None:
    plant.target.script = observing
    follow(plant, "A", "B")
    plant.stop()
    plant.target.script = lambda _task: None
    plant.start()
    assert plant.target.held == {}  # the switch alone writes nothing
    plant.replay("A")
    plant.until(lambda: plant.applied("A") == 1)
    plant.stop()
    assert plant.target.held == {"A": 1}
    waiting, provisioned = (each for each in plant.outcomes() if each.student_number == "A")
    assert isinstance(waiting, TargetWaiting)
    assert isinstance(provisioned, TargetProvisioned)


def test_what_would_be_written_is_counted_by_field_with_examples(plant: Plant) -> None:
    plant.target.script = observing
    follow(plant, "A", "B", "C")
    plant.stop()
    found = show(site_of(plant.database, ("directory",)), OPERATOR).model_dump()
    assert found["completed"] == 0
    assert found["observed"]["directory"] == {
        "students": 3,
        "unchanged": 1,
        "fields": {"mail": 2, "sn": 2},
        "examples": {"A": ("mail", "sn")},
    }
    with plant.database.read() as connection:
        assert observed.differences(connection) == {("directory", "mail"): 2, ("directory", "sn"): 2}


def test_an_account_is_not_complete_while_one_of_its_targets_is_only_observed() -> None:
    def seen(target: str, state: str, reason: str | None = None) -> SeenOutcome:
        return SeenOutcome(target, 1, 1, 1, state, reason, 0.0)

    targets = ("directory", "mailbox", "moodle")
    here = {name: seen(name, "provisioned") for name in targets}
    assert judge(1, here, targets, {})[0] is PropagationState.COMPLETED
    here["moodle"] = seen("moodle", "waiting", OBSERVED_ONLY)
    assert judge(1, here, targets, {}) == (PropagationState.WAITING, ("moodle",))


def test_a_mail_server_that_is_only_observed_does_not_wait_for_the_directory(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    assert (settings.observed, build(settings).follows) == (frozenset(), {"mailbox": "directory"})
    looking = Settings(data_dir=tmp_path, mailbox={"mode": "observe"}, moodle={"mode": "observe"})
    assert (looking.observed, build(looking).follows) == (frozenset({"mailbox", "moodle"}), {})


def test_the_metric_has_few_labels_and_none_of_a_person() -> None:
    (defined,) = [each for each in Metrics().definitions if each.name == "sesame_observed_differences"]
    assert defined.labels == ("target", "field")
