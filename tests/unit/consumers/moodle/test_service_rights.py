"""May an empty answer be believed? Only once the service user was seen to see others, with its rights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import pytest

from consumers.kit.deadline import Deadline
from consumers.moodle.functions import NEEDED, MoodleFunctions, SiteInfo, User
from consumers.moodle.rights import Rights
from pipeline.errors import Misconfigured

DEADLINE = Deadline(1000.0, lambda: 0.0)
RIGHTS = {
    "core_user_create_users": "moodle/user:create",
    "core_user_update_users": "moodle/user:update",
    "core_cohort_create_cohorts": "moodle/cohort:manage",
}


def user(id_: int, username: str) -> User:
    return User(id_, username, "manual", "", "", "", f"{username}@x.fr", False)


SESAME, GUEST, ADMIN = user(4, "sesame"), user(1, "guest"), user(2, "admin")


class Site:
    """A site that shows the service user these users, by name and by id."""

    def __init__(self, *by_name: User, by_id: Sequence[User] = ()) -> None:
        self.shown = {"username": list(by_name), "id": list(by_id)}
        self.functions = NEEDED
        self.lacks: set[str] = set()
        self.asked: list[tuple[str, tuple[str, ...]]] = []
        self.tried: dict[str, Mapping[str, Any]] = {}

    def site_info(self, deadline: Deadline) -> SiteInfo:
        assert deadline is DEADLINE
        self.asked.append(("info", ()))
        return SiteInfo(4, "sesame", self.functions)

    def users_by(self, field: str, values: Sequence[str], deadline: Deadline) -> list[User]:
        assert deadline is DEADLINE
        self.asked.append((field, tuple(values)))
        return self.shown[field]

    def permits(self, function: str, impossible: Mapping[str, Any], deadline: Deadline) -> bool:
        assert deadline is DEADLINE
        self.tried[function] = impossible
        return function not in self.lacks


def rights(site: Site) -> Rights:
    return Rights(cast("MoodleFunctions", site))


def test_it_is_verified_once_and_again_when_something_casts_doubt_on_it() -> None:
    site = Site(SESAME, GUEST)
    checked = rights(site)
    for _ in range(2):
        checked.ensure(DEADLINE)
        assert site.asked == [("info", ()), ("username", ("sesame", "guest", "admin"))]
    checked.forget()
    checked.ensure(DEADLINE)
    assert len(site.asked) == 4
    site.shown["username"] = []
    with pytest.raises(Misconfigured):
        checked.verify(DEADLINE)
    with pytest.raises(Misconfigured):  # and nothing is believed until that is mended
        checked.ensure(DEADLINE)


@pytest.mark.parametrize("by_name", [[], [GUEST, ADMIN]])
def test_a_service_user_that_cannot_read_itself_is_refused(by_name: list[User]) -> None:
    with pytest.raises(Misconfigured, match="cannot read itself") as refused:
        rights(Site(*by_name, by_id=[GUEST])).ensure(DEADLINE)
    assert "moodle/user:viewdetails" in refused.value.remedy


@pytest.mark.parametrize("by_id", [[], [SESAME]])
def test_a_service_user_that_sees_itself_alone_is_refused(by_id: list[User]) -> None:
    site = Site(SESAME, by_id=by_id)
    with pytest.raises(Misconfigured, match="sees no user but itself") as refused:
        rights(site).ensure(DEADLINE)
    assert "moodle/user:viewalldetails" in refused.value.remedy
    assert site.asked[-1] == ("id", ("1", "2"))


def test_somebody_who_was_renamed_is_found_by_its_id() -> None:
    rights(Site(SESAME, by_id=[user(2, "renamed")])).ensure(DEADLINE)


def test_functions_that_the_service_lacks_are_named() -> None:
    site = Site(SESAME, GUEST)
    site.functions = NEEDED - {"core_user_get_users", "core_cohort_get_cohorts"}
    with pytest.raises(
        Misconfigured, match=r"lacks core_cohort_get_cohorts, core_user_get_users$"
    ) as refused:
        rights(site).ensure(DEADLINE)
    assert "External services" in refused.value.remedy
    site.functions = NEEDED | {"core_something_else"}
    rights(site).ensure(DEADLINE)


@pytest.mark.parametrize("lacks", [["core_user_update_users"], list(RIGHTS)])
def test_each_missing_right_to_write_is_named(lacks: list[str]) -> None:
    site = Site(SESAME, GUEST)
    site.lacks = set(lacks)
    missing = [RIGHTS[function] for function in lacks]
    with pytest.raises(Misconfigured) as refused:
        rights(site).verify_writing(DEADLINE)
    assert str(refused.value).endswith(f"lacks {', '.join(missing)}")
    assert refused.value.remedy.endswith(f"at system level, {' and '.join(missing)}")


def test_a_probe_writes_nothing_even_where_moodle_would_let_it() -> None:
    """Each of these is refused by Moodle for what it asks, once it has looked at the right."""
    site = Site(SESAME, GUEST)
    rights(site).verify_writing(DEADLINE)
    assert set(site.tried) == set(RIGHTS)
    (taken,) = site.tried["core_user_create_users"]["users"]
    assert taken["username"] == "sesame"  # it exists
    assert not {"password", "createpassword"} & set(taken)
    (nobody,) = site.tried["core_user_update_users"]["users"]
    assert nobody == {"id": 2147483647}
    twins = site.tried["core_cohort_create_cohorts"]["cohorts"]
    assert [each["idnumber"] for each in twins] == ["sesame-rights-probe"] * 2
    assert {each["descriptionformat"] for each in twins} == {99}  # no such format
