"""Which events are bells for a target consumer, and of which version they ring."""

from __future__ import annotations

import pytest

from pipeline.engine.bell import Place, bell_for, topics_for
from schemas import catalogue
from schemas.account import Hold, Lane, Stage
from schemas.envelope import Message
from schemas.events import AccountChanged, Cause, Event, ReplayRequested, TargetWaiting
from sesame.testing.servers.target_kit import NOW, outcome

PLACE = Place(catalogue.by_lane(catalogue.ACTIVATIONS, Lane.BULK), 1, 7)


def changed(stage: Stage = Stage.ACTIVE, *holds: Hold) -> AccountChanged:
    return AccountChanged(
        student_number="A", version=4, stage=stage, holds=holds, lane=Lane.PERSONAL, cause=Cause.ACTIVATION
    )


def replay(consumer: str) -> ReplayRequested:
    return ReplayRequested(student_number="A", consumer=consumer, replay_id="0123456789abcdef")


ALONE, FOLLOWER = None, "directory"


@pytest.mark.parametrize(
    ("follows", "event", "rings"),
    [
        (ALONE, changed(), 4),
        (ALONE, changed(Stage.EXPIRED), 4),
        (ALONE, outcome("directory", version=4), None),
        (FOLLOWER, changed(), None),
        (FOLLOWER, changed(Stage.GRACE), None),
        (FOLLOWER, changed(Stage.EXPIRED), 0),  # shuts access, and says nothing of the leader
        (FOLLOWER, changed(Stage.ACTIVE, Hold.SUSPENDED), 0),
        (FOLLOWER, outcome("directory", version=4), 4),
        (FOLLOWER, outcome("moodle", version=4), None),
        (FOLLOWER, outcome("directory", version=4, kind=TargetWaiting, reason="enrolment"), None),
    ],
)
def test_one_is_rung_by_accounts_and_a_follower_by_its_leader_and_by_what_shuts_access(
    follows: str | None, event: Event, rings: int | None
) -> None:
    bell = bell_for("mailbox", follows, Message("id", "/s", NOW, event), PLACE)
    expected = None if rings is None else ("A", rings, Lane.PERSONAL, "id", False, PLACE)
    assert (bell if bell is None else tuple(bell)) == expected


@pytest.mark.parametrize("follows", [ALONE, FOLLOWER])
def test_a_replay_is_for_the_consumer_that_it_names_in_the_lane_where_it_was_read(
    follows: str | None,
) -> None:
    bell = bell_for("mailbox", follows, Message("id", "/s", NOW, replay("mailbox")), PLACE)
    assert bell is not None
    assert tuple(bell) == ("A", 0, Lane.BULK, "id", True, PLACE)
    assert bell_for("mailbox", follows, Message("id", "/s", NOW, replay("moodle")), PLACE) is None


def test_everybody_reads_accounts_and_replays_and_a_follower_outcomes_besides() -> None:
    alone = {f"sesame.{what}{lane}" for what in ("accounts", "activations") for lane in ("", ".bulk")}
    assert set(topics_for(ALONE)) == alone
    assert set(topics_for(FOLLOWER)) == alone | {"sesame.outcomes", "sesame.outcomes.bulk"}
