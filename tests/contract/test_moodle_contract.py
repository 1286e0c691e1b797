"""The Moodle stand-in answers as the real site was recorded to answer, whatever the names."""

from __future__ import annotations

import pytest

from sandbox.moodle import MoodleStandIn
from tests.contract import test_moodle_limits, test_moodle_races
from tests.contract.exempt import EXEMPT
from tests.contract.recording import RECORDED, RENAMED, Naming, load_entries
from tests.contract.replay import SITE_URL, Replay, is_replayable
from tests.contract.reproducing import reproduced_by

ENTRIES = load_entries()
REPLAYABLE = [entry for entry in ENTRIES if is_replayable(entry)]


@pytest.fixture(scope="module", params=[RECORDED, RENAMED], ids=lambda naming: naming.name)
def replayed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[str]]:
    """The differences found by one replay on a fresh site, by entry."""
    naming: Naming = request.param
    with MoodleStandIn(
        tmp_path_factory.mktemp("moodle"),
        max_input_vars=5000,
        site_url=SITE_URL,
        site_name=naming.text("Lab Moodle"),
        service_username=naming.service_user,
    ) as moodle:
        return Replay(moodle, naming).run(REPLAYABLE)


@pytest.mark.parametrize("key", [entry.key for entry in REPLAYABLE if entry.name not in EXEMPT])
def test_the_stand_in_answers_as_recorded(replayed: dict[str, list[str]], key: str) -> None:
    assert replayed[key] == []


@pytest.mark.parametrize("key", [entry.key for entry in REPLAYABLE if entry.name in EXEMPT])
def test_no_exempt_entry_would_pass(replayed: dict[str, list[str]], key: str) -> None:
    assert replayed[key] != []


def test_every_entry_is_replayed_or_reproduced_or_exempt() -> None:
    replayed = {entry.name for entry in REPLAYABLE}
    reproduced = reproduced_by(test_moodle_limits) | reproduced_by(test_moodle_races)
    assert {entry.name for entry in ENTRIES} == replayed | reproduced
    assert not replayed & reproduced


def test_at_most_twenty_entries_are_exempt_each_for_a_reason() -> None:
    names = {entry.name for entry in ENTRIES}
    assert len(EXEMPT) <= 20
    assert set(EXEMPT) <= names
    assert all(len(reason) > 5 for reason in EXEMPT.values())
