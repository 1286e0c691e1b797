"""One person now: by the rules of the consumers, each step told."""

from __future__ import annotations

import pytest

from pipeline import pauses, quarantine
from pipeline.errors import TargetDown
from pipeline.target import Dead, Waiting
from schemas import catalogue
from schemas.account import Stage
from schemas.events import TargetFailed, TargetProvisioned
from sesame.operations.access.provisioning import Ended, Provisioning
from sesame.testing.servers.effects_kit import bell
from sesame.testing.servers.pipeline_kit import Plant, live_mailbox, live_plant

plant = live_plant


mailbox = live_mailbox


def provision(plant: Plant, number: str = "A", told: list[str] | None = None) -> Ended:
    steps = told if told is not None else []
    provisioning = Provisioning(plant.database, lambda _target, what: steps.append(what))
    return provisioning.at(number, plant.target, plant.effects())


def test_a_person_is_written_read_back_announced_and_recorded_and_each_step_is_told(plant: Plant) -> None:
    plant.account("A")
    told: list[str] = []
    ended = provision(plant, told=told)
    assert (ended.state, ended.well) == ("done", True)
    assert ended.text.startswith("written and read back")
    assert [step.split(":")[0] for step in told] == [
        "lease taken",
        "read",
        "announced on the log, recorded in the store, lease given back",
    ]
    assert "differs: version" in told[1]
    assert plant.applied("A") == 1
    [event] = plant.outcomes()
    assert isinstance(event, TargetProvisioned)
    assert event.lane == "personal"


def test_a_second_time_it_is_compared_and_nothing_is_written(plant: Plant) -> None:
    plant.account("A")
    provision(plant)
    ended = provision(plant)
    assert ended.text.startswith("nothing had to be written")
    assert plant.target.compared == ["A", "A"]


def test_it_does_not_write_while_somebody_else_has_the_lease(plant: Plant) -> None:
    plant.account("A")
    assert plant.effects().admit([bell("A")])
    ended = provision(plant)
    assert ended.state == "elsewhere"
    assert "looked at again at" in ended.text
    assert plant.target.calls == []


def test_it_does_not_overtake_the_target_that_is_followed(mailbox: Plant) -> None:
    mailbox.account("A")
    ended = provision(mailbox)
    assert ended.state == "elsewhere"
    assert "after directory" in ended.text
    assert mailbox.target.calls == []


def test_it_does_not_pass_a_quarantine(plant: Plant) -> None:
    plant.account("A")
    with plant.database.write() as connection:
        quarantine.place(connection, plant.database, "directory", "20 of 20 were given up")
    ended = provision(plant)
    assert ended.state == "quarantined"
    assert "sesame quarantine lift directory" in ended.text
    assert plant.state("A") is None


def test_it_does_not_pass_a_pause(plant: Plant) -> None:
    plant.account("A")
    with plant.database.write() as connection:
        pauses.place(connection, plant.database, "directory", actor="ada", reason="migration")
    ended = provision(plant)
    assert ended.state == "paused"
    assert "ada: migration. sesame targets resume directory" in ended.text
    assert plant.state("A") is None


def test_a_target_that_is_down_charges_nobody_and_gives_the_lease_back(plant: Plant) -> None:
    plant.account("A")
    plant.target.script = lambda _task: TargetDown("refused", unknown=False)
    with pytest.raises(TargetDown):
        provision(plant)
    state = plant.state("A")
    assert state is not None
    assert (state.lease_owner, state.suspect) == (None, True)
    assert plant.parked("A") is None


def test_a_refusal_is_a_dead_letter_as_any_consumers(plant: Plant) -> None:
    plant.account("A")
    plant.target.script = lambda _task: Dead("identity_collision", "held by somebody else")
    assert provision(plant) == Ended(
        target="directory", state="dead", text="identity_collision: held by somebody else"
    )
    assert [letter.cause for letter in plant.letters()] == ["identity_collision"]
    assert isinstance(plant.read(catalogue.OUTCOMES)[0].event, TargetFailed)


def test_one_who_waits_is_told_for_what(plant: Plant) -> None:
    plant.account("A")
    plant.target.script = lambda _task: Waiting("pedagogical_enrolment_pending", ("L1INFO-2026",))
    ended = provision(plant)
    assert ended.well
    assert "pedagogical_enrolment_pending (L1INFO-2026)" in ended.text


def test_an_erased_account_is_brought_too_what_there_is_has_to_go(plant: Plant) -> None:
    plant.account("A", stage=Stage.ERASED)
    assert provision(plant).well
    assert plant.target.calls == [["A"]]
