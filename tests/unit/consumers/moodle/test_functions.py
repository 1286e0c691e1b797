"""Each function of Moodle that is used: what it is sent, word for word, and what its answer gives."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest
from pydantic import SecretStr

from consumers.kit.deadline import Deadline
from consumers.moodle.errors import Broken, DeletionForbidden, MoodleRefused, RightMissing
from consumers.moodle.functions import Cohort, MoodleFunctions, SiteInfo, User
from consumers.moodle.rest import RestClient
from consumers.moodle.settings import MoodleSettings
from pipeline.errors import CredentialsRefused, Misconfigured, TargetDown

DEADLINE = Deadline(60.0, lambda: 0.0)
ELODIE = {
    "id": 7,
    "username": "elodie.lefevre",
    "auth": "cas",
    "idnumber": "22600001",
    "firstname": "Élodie",
    "lastname": "Lefèvre",
    "email": "elodie@univ-exemple.fr",
    "suspended": 0,
    "lang": "fr",
    "city": "Paris",
}
USER = User(
    7, "elodie.lefevre", "cas", "22600001", "Élodie", "Lefèvre", "elodie@univ-exemple.fr", False, "fr"
)


class Rest:
    """Answers one thing after the other (an exception is raised), and remembers what it was asked."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str, Any]] = []

    def _answer(self, how: str, function: str, params: Any, deadline: Deadline) -> Any:
        assert deadline is DEADLINE
        self.asked.append((how, function, params))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def read(self, function: str, params: Any, deadline: Deadline) -> Any:
        return self._answer("read", function, params, deadline)

    def write(self, function: str, params: Any, deadline: Deadline) -> Any:
        return self._answer("write", function, params, deadline)

    @contextmanager
    def stream(self, function: str, params: Any, deadline: Deadline) -> Iterator[Iterator[str]]:
        yield iter([json.dumps(self._answer("stream", function, params, deadline))])


def functions(rest: Rest, max_input_vars: int = 1000) -> MoodleFunctions:
    settings = MoodleSettings(
        base_url="https://moodle.example", token=SecretStr("x"), max_input_vars=max_input_vars
    )
    return MoodleFunctions(cast("RestClient", rest), settings)


Call = Callable[[MoodleFunctions], Any]


def everybody(functions: MoodleFunctions) -> list[User]:
    return list(functions.everybody(DEADLINE))


EXCHANGES: list[tuple[Call, tuple[str, str, Any], Any, Any]] = [
    (
        lambda f: f.site_info(DEADLINE),
        ("read", "core_webservice_get_site_info", {}),
        {"userid": "4", "username": "sesame", "functions": [{"name": "a", "version": 1}, {"name": "b"}]},
        SiteInfo(4, "sesame", frozenset({"a", "b"})),
    ),
    (
        lambda f: f.users_by("idnumber", ["1", "2", "1"], DEADLINE),
        ("read", "core_user_get_users_by_field", {"field": "idnumber", "values": ["1", "2"]}),
        [ELODIE],
        [USER],
    ),
    (
        lambda f: f.users_like_email("a@b.fr", DEADLINE),
        ("read", "core_user_get_users", {"criteria": [{"key": "email", "value": "a@b.fr"}]}),
        {"users": [ELODIE]},
        [USER],
    ),
    (
        lambda f: f.delete_users([7, 8], DEADLINE),
        ("write", "core_user_delete_users", {"userids": [7, 8]}),
        None,
        None,
    ),
    (
        everybody,
        ("stream", "core_user_get_users", {"criteria": [{"key": "email", "value": "%"}]}),
        {"users": [ELODIE]},
        [USER],
    ),
    (
        lambda f: f.create_users([{"username": "a"}, {"username": "b"}], DEADLINE),
        ("write", "core_user_create_users", {"users": [{"username": "a"}, {"username": "b"}]}),
        [{"id": "3", "username": "a"}, {"id": 4, "username": "b"}],
        [3, 4],
    ),
    (
        lambda f: f.update_users([{"id": 3, "suspended": 1}], DEADLINE),
        ("write", "core_user_update_users", {"users": [{"id": 3, "suspended": 1}]}),
        {"warnings": [{"itemid": "3", "warningcode": "invaliduserid"}, {"warningcode": "of nobody"}]},
        {3: "invaliduserid"},
    ),
    (lambda f: f.update_users([], DEADLINE), ("write", "core_user_update_users", {"users": []}), None, {}),
    (
        lambda f: f.update_users([], DEADLINE),
        ("write", "core_user_update_users", {"users": []}),
        {"other": []},
        {},
    ),
    (
        lambda f: f.all_cohorts(DEADLINE),
        ("read", "core_cohort_get_cohorts", {}),
        [{"id": "8", "idnumber": "L1-2026", "name": "L1"}, {"id": 9, "idnumber": None}, {"id": 10}],
        [Cohort(8, "L1-2026", "L1"), Cohort(9, "", ""), Cohort(10, "", "")],
    ),
    (
        lambda f: f.search_cohorts("L1", DEADLINE),
        (
            "read",
            "core_cohort_search_cohorts",
            {
                "query": "L1",
                "context": {"contextlevel": "system", "instanceid": 0},
                "includes": "all",
                "limitfrom": 0,
                "limitnum": 100,
            },
        ),
        {"cohorts": [{"id": 8, "idnumber": "L1-2026", "name": "L1"}]},
        [Cohort(8, "L1-2026", "L1")],
    ),
    (
        lambda f: f.create_cohorts([("L1-2026", "Licence 1")], DEADLINE),
        (
            "write",
            "core_cohort_create_cohorts",
            {
                "cohorts": [
                    {
                        "categorytype": {"type": "system", "value": ""},
                        "name": "Licence 1",
                        "idnumber": "L1-2026",
                    }
                ]
            },
        ),
        [{"id": 8, "idnumber": "L1-2026", "name": "Licence 1"}],
        [Cohort(8, "L1-2026", "Licence 1")],
    ),
    (
        lambda f: f.add_members([("L1-2026", 7)], DEADLINE),
        (
            "write",
            "core_cohort_add_cohort_members",
            {
                "members": [
                    {
                        "cohorttype": {"type": "idnumber", "value": "L1-2026"},
                        "usertype": {"type": "id", "value": 7},
                    }
                ]
            },
        ),
        {"warnings": []},
        None,
    ),
    (
        lambda f: f.remove_members([(8, 7)], DEADLINE),
        ("write", "core_cohort_delete_cohort_members", {"members": [{"cohortid": 8, "userid": 7}]}),
        None,
        None,
    ),
    (
        lambda f: f.members_of([8, 9], DEADLINE),
        ("read", "core_cohort_get_cohort_members", {"cohortids": [8, 9]}),
        [{"cohortid": "8", "userids": ["7", 6]}, {"cohortid": 9, "userids": []}],
        {8: frozenset({6, 7}), 9: frozenset()},
    ),
]


@pytest.mark.parametrize(("call", "asked", "answer", "expected"), EXCHANGES)
def test_a_function_is_sent_its_form_and_gives_what_was_answered(
    call: Call, asked: tuple[str, str, Any], answer: Any, expected: Any
) -> None:
    rest = Rest(answer)
    assert call(functions(rest)) == expected
    assert rest.asked == [asked]


@pytest.mark.parametrize("answer", ["no", 7, {"users": 3}, [{"id": "x"}], [7]])
def test_an_answer_of_another_shape_is_no_empty_answer(answer: Any) -> None:
    reads: list[Call] = [
        lambda f: f.site_info(DEADLINE),
        lambda f: f.users_by("idnumber", ["1"], DEADLINE),
        lambda f: f.users_like_email("a@b.fr", DEADLINE),
        lambda f: f.create_users([{"username": "a"}], DEADLINE),
        lambda f: f.all_cohorts(DEADLINE),
        lambda f: f.search_cohorts("L1", DEADLINE),
        lambda f: f.create_cohorts([("a", "b")], DEADLINE),
        lambda f: f.members_of([8], DEADLINE),
    ]
    for call in reads:
        with pytest.raises((Broken, Misconfigured)):
            call(functions(Rest(answer)))


@pytest.mark.parametrize("name", ["username", "auth", "email", "suspended"])
def test_a_user_whose_fields_are_hidden_is_a_missing_right_and_no_difference(name: str) -> None:
    hidden = {key: value for key, value in ELODIE.items() if key != name}
    with pytest.raises(Misconfigured, match=f"may not see {name} of users") as refused:
        functions(Rest([hidden])).users_by("id", ["7"], DEADLINE)
    assert "moodle/user:viewalldetails" in refused.value.remedy
    nothing = {key: value for key, value in ELODIE.items() if key in ("id", "username", "email")}
    with pytest.raises(Misconfigured, match="see auth, suspended of"):
        functions(Rest([nothing])).users_by("id", ["7"], DEADLINE)


def test_what_moodle_leaves_out_because_it_is_empty_is_empty() -> None:
    shown = {key: ELODIE[key] for key in ("id", "username", "auth", "email", "suspended")}
    (user,) = functions(Rest([shown])).users_by("id", ["7"], DEADLINE)
    assert user == User(7, "elodie.lefevre", "cas", "", "", "", "elodie@univ-exemple.fr", False, "")


@pytest.mark.parametrize(("limit", "page"), [(1000, 100), (100, 95), (55, 50)])
def test_users_are_read_in_pages_that_php_does_not_cut(limit: int, page: int) -> None:
    """wstoken, wsfunction, moodlewsrestformat, field, and one variable less than the limit in all."""
    numbers = [str(number) for number in range(2 * page + 1)]
    rest = Rest(*([{**ELODIE, "idnumber": str(n)}] for n in range(3)))
    found = functions(rest, limit).users_by("idnumber", numbers, DEADLINE)
    assert [user.idnumber for user in found] == ["0", "1", "2"]
    assert [len(params["values"]) for _, _, params in rest.asked] == [page, page, 1]
    assert [value for _, _, params in rest.asked for value in params["values"]] == numbers


@pytest.mark.parametrize(("limit", "page"), [(1000, 100), (100, 96)])
def test_members_are_read_in_pages_that_php_does_not_cut(limit: int, page: int) -> None:
    rest = Rest(*([{"cohortid": n, "userids": [n]}] for n in range(2)))
    found = functions(rest, limit).members_of(range(page + 1), DEADLINE)
    assert found == {0: frozenset({0}), 1: frozenset({1})}
    assert [len(params["cohortids"]) for _, _, params in rest.asked] == [page, 1]


def test_every_page_of_a_search_is_read_until_one_is_not_full() -> None:
    def page(first: int, count: int) -> dict[str, Any]:
        return {"cohorts": [{"id": first + n, "idnumber": f"L1-{first + n}"} for n in range(count)]}

    rest = Rest(page(0, 100), page(100, 100), page(200, 0))
    found = functions(rest).search_cohorts("L1", DEADLINE)
    assert [cohort.id for cohort in found] == list(range(200))
    assert [params["limitfrom"] for _, _, params in rest.asked] == [0, 100, 200]
    rest = Rest(page(0, 100), page(100, 99))
    assert len(functions(rest).search_cohorts("L1", DEADLINE)) == 199


@pytest.mark.parametrize("created", [[{"id": 3, "username": "a"}], [], [{"id": 3, "username": "b"}] * 2])
def test_a_call_that_php_cut_is_never_taken_for_a_success(created: list[dict[str, Any]]) -> None:
    with pytest.raises(Misconfigured, match=f"{len(created)} users of the 2 sent") as refused:
        functions(Rest(created)).create_users([{"username": "a"}, {"username": "b"}], DEADLINE)
    assert "max_input_vars" in refused.value.remedy


@pytest.mark.parametrize(
    ("answer", "permitted"),
    [([], True), (MoodleRefused("invalidparameter"), True), (RightMissing("no"), False)],
)
def test_a_right_is_missing_only_where_moodle_says_so(answer: Any, *, permitted: bool) -> None:
    rest = Rest(answer)
    assert functions(rest).permits("core_user_create_users", {"users": []}, DEADLINE) is permitted
    assert rest.asked == [("read", "core_user_create_users", {"users": []})]
    with pytest.raises(TargetDown):
        functions(Rest(TargetDown("away"))).permits("f", {}, DEADLINE)


@pytest.mark.parametrize(
    "error",
    [RightMissing("nopermissions"), CredentialsRefused("accessexception", remedy="look at the token")],
)
def test_what_only_an_erasure_needs_is_told_from_a_token_that_is_refused(error: Misconfigured) -> None:
    info = {"userid": 3, "username": "sesame", "functions": [{"name": "core_user_update_users"}]}
    with pytest.raises(DeletionForbidden):
        functions(Rest(error, info)).delete_users([7], DEADLINE)
    info["functions"] = [{"name": "core_user_delete_users"}]
    whole = DeletionForbidden if isinstance(error, RightMissing) else CredentialsRefused
    with pytest.raises(whole):
        functions(Rest(error, info)).delete_users([7], DEADLINE)
