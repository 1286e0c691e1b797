"""A missing right of Moodle's service user is named before a student meets it, and nothing is written."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.errors import Misconfigured
from pipeline.target import Done, Handler
from sandbox.moodle import MoodleStandIn
from sesame.testing.servers.moodle_kit import Handlers, Operator, account, cohort, handle_one

ELODIE = "22600001"
SEEING = ("moodle/user:viewdetails", "moodle/user:viewalldetails", "moodle/site:viewuseridentity")
WRITING = ("moodle/user:create", "moodle/user:update", "moodle/cohort:manage")
SUPERFLUOUS = ("moodle/cohort:view", "moodle/cohort:assign")


def everything(operator: Operator) -> tuple[Any, ...]:
    """All users and cohorts of the site, as somebody with a browser sees them."""
    users = operator.call("core_user_get_users", **{"criteria[0][key]": "email", "criteria[0][value]": "%"})
    return (users["users"], operator.call("core_cohort_get_cohorts"))


@pytest.mark.parametrize("right", [*SEEING, *WRITING])
def test_a_probe_names_the_right_that_is_missing_and_writes_nothing(
    handler: Handler, moodle: MoodleStandIn, operator: Operator, right: str
) -> None:
    operator.create_cohort("L1INFO-2026")
    before = everything(operator)
    moodle.set(missing_capabilities=[right])
    with pytest.raises(Misconfigured) as caught:
        handler.probe()
    assert right in caught.value.remedy
    if right in WRITING:
        assert right in str(caught.value)
        assert not [other for other in WRITING if other != right and other in str(caught.value)]
    moodle.reset()
    assert everything(operator) == before


def test_a_probe_names_all_the_rights_to_write_that_are_missing(
    handler: Handler, moodle: MoodleStandIn
) -> None:
    moodle.set(missing_capabilities=list(WRITING))
    with pytest.raises(Misconfigured) as caught:
        handler.probe()
    assert all(right in caught.value.remedy for right in WRITING)


def test_a_probe_with_every_right_leaves_the_site_as_it_was(handler: Handler, operator: Operator) -> None:
    before = everything(operator)
    handler.probe()
    handler.probe()
    assert everything(operator) == before


def test_a_site_that_is_only_observed_needs_no_right_to_write(
    handlers: Handlers, moodle: MoodleStandIn
) -> None:
    moodle.set(missing_capabilities=list(WRITING))
    handlers(mode="observe").probe()


def test_the_rights_to_view_and_to_assign_cohorts_are_not_needed(
    handler: Handler, handlers: Handlers, moodle: MoodleStandIn, operator: Operator
) -> None:
    moodle.set(missing_capabilities=list(SUPERFLUOUS))
    handler.probe()
    assert isinstance(handle_one(handler, account(ELODIE, cohort("L1INFO"))), Done)
    assert operator.cohorts_of(ELODIE) == ["L1INFO-2026"]
    assert isinstance(handle_one(handler, account(ELODIE, cohort("L2INFO"))), Done)
    assert operator.cohorts_of(ELODIE) == ["L2INFO-2026"]
    assert ELODIE in {each.student_number for each in handlers.connector().objects()}


def test_a_consumer_that_was_refused_a_write_stays_stopped_until_the_right_is_given(
    handler: Handler, moodle: MoodleStandIn
) -> None:
    moodle.set(missing_capabilities=["moodle/user:create"])
    with pytest.raises(Misconfigured):
        handle_one(handler, account(ELODIE))
    with pytest.raises(Misconfigured, match="moodle/user:create"):
        handler.probe()
    moodle.reset()
    handler.probe()
    assert isinstance(handle_one(handler, account(ELODIE)), Done)
