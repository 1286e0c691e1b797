"""Result codes: whom they concern, and what the operator reads."""

from __future__ import annotations

import pytest

from consumers.directory.answers import bind_refused, judge
from consumers.kit.connector import SLOW, TOO_SLOW, Refused
from consumers.kit.deadline import OutOfTime
from consumers.kit.ldap_answers import Busy, LdapAnswer, Lost
from pipeline.errors import Misconfigured, TargetDown
from sesame.testing.servers.ldap_kit import client_on

NON_UNIQUE = "non-unique attributes found with (|(mail=lea.martin@univ-exemple.fr))"


def test_a_taken_value_names_the_attribute_and_never_the_value() -> None:
    refused = judge(LdapAnswer(19, NON_UNIQUE))
    assert refused.cause == "mail_taken"
    assert "lea.martin" not in refused.message


@pytest.mark.parametrize(
    ("attribute", "cause"),
    [
        ("uid", "identity_collision"),
        ("supannEtuId", "student_number_taken"),
        ("eduPersonPrincipalName", "principal_taken"),
        ("employeeNumber", "value_taken"),
    ],
)
def test_each_unique_attribute_has_its_cause(attribute: str, cause: str) -> None:
    assert judge(LdapAnswer(19, f"non-unique attributes found with (|({attribute}=x))")).cause == cause


@pytest.mark.parametrize(
    ("code", "diagnostic", "named"),
    [
        (65, "object class 'inetOrgPerson' requires attribute 'sn'", "sn"),
        (21, "mail: value #0 invalid per syntax", "mail"),
        (19, "sesameStage: multiple values provided", "sesameStage"),
    ],
)
def test_a_schema_violation_is_one_students_and_names_the_attribute(
    code: int, diagnostic: str, named: str
) -> None:
    refused = judge(LdapAnswer(code, diagnostic))
    assert refused.cause == "schema_violation"
    assert named in refused.message


@pytest.mark.parametrize("code", [1, 3, 51, 52, 80])
def test_a_busy_directory_is_asked_again(code: int) -> None:
    with pytest.raises(Busy):
        judge(LdapAnswer(code))


@pytest.mark.parametrize("code", [4, 8, 10, 11, 12, 13, 17, 32, 48, 49, 50, 53])
def test_what_concerns_the_consumer_stops_it_with_a_remedy(code: int) -> None:
    with pytest.raises(Misconfigured) as stopped:
        judge(LdapAnswer(code, "supannEtuId: attribute type undefined"))
    assert stopped.value.remedy


def test_a_class_that_the_server_does_not_know_is_a_missing_schema() -> None:
    with pytest.raises(Misconfigured, match="objectClass") as stopped:
        judge(LdapAnswer(21, "objectClass: value #3 invalid per syntax"))
    assert "schema" in stopped.value.remedy


def test_an_unexpected_code_is_one_students_trouble() -> None:
    assert judge(LdapAnswer(4096)).cause == "schema_violation"


def test_a_bind_refused_while_busy_is_a_server_that_is_down() -> None:
    assert isinstance(bind_refused(LdapAnswer(51)), TargetDown)
    assert isinstance(bind_refused(LdapAnswer(49)), Misconfigured)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([Lost("-"), Busy("51"), Busy("51")], Refused("directory_busy", "51", unknown=True)),
        ([Busy("51"), Busy("51"), Lost("-")], Refused("outcome_unknown", "-", unknown=True)),
        ([Lost("-"), OutOfTime("slow")], Refused("outcome_unknown", "slow", unknown=True)),
        ([Busy("51"), OutOfTime("slow")], Refused(SLOW, TOO_SLOW)),
        ([Busy("51"), Busy("51"), Busy("51")], Refused("directory_busy", "51")),
    ],
)
def test_what_had_no_answer_once_may_still_land_whatever_comes_after(
    answers: list[Exception], expected: Refused
) -> None:
    left = iter(answers)

    def work() -> Refused | None:
        raise next(left)

    assert client_on().settled(work) == expected
