"""Somebody else is faster between two of our calls: moments that no real site can be made to repeat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import pytest
from pydantic import SecretStr

from consumers.moodle import Cause, Fault, MoodleSettings, User, Wanted
from consumers.moodle.deadline import Deadline
from consumers.moodle.errors import Refused, WriteRefused
from consumers.moodle.functions import MoodleFunctions
from consumers.moodle.users import Users
from consumers.moodle.work import Work

SETTINGS = MoodleSettings(base_url="https://moodle.univ-exemple.fr", token=SecretStr("jeton-d-essai"))
NUMBER = "22600001"
LOGIN = "elodie.lefevre"


def held_by(idnumber: str) -> User:
    return User(7, LOGIN, "cas", idnumber, "Élodie", "Lefèvre", "elodie.lefevre@etu.univ-exemple.fr", False)


def wanted() -> Wanted:
    fields = {
        "username": LOGIN,
        "auth": "cas",
        "firstname": "Élodie",
        "lastname": "Lefèvre",
        "email": "elodie.lefevre@etu.univ-exemple.fr",
    }
    return Wanted(NUMBER, fields, suspended=False, cohorts={})


class Overtaken:
    """Functions of a site that refuses every creation, and shows the reason at the second look only."""

    def __init__(self, error: Exception, holder: User) -> None:
        self._error = error
        self._holder = holder
        self._looks = 0

    def rows(self, fields: int, at_most: int) -> int:
        return at_most

    def create_users(self, rows: Sequence[Mapping[str, str]], deadline: Deadline) -> list[int]:
        raise self._error

    def users_by(self, field: str, values: Sequence[str], deadline: Deadline) -> list[User]:
        self._looks += field == "username"
        return [self._holder] if field == "username" and self._looks > 1 else []

    def users_like_email(self, address: str, deadline: Deadline) -> list[User]:
        return []


@pytest.mark.parametrize("error", [Refused("invalidparameter"), WriteRefused("dmlwriteexception")])
def test_a_user_that_another_worker_has_just_created_is_left_to_the_next_reading(error: Exception) -> None:
    work = Work(wanted())
    site = cast("MoodleFunctions", Overtaken(error, held_by(NUMBER)))
    Users(site, SETTINGS).write([work], Deadline.after(10, lambda: 0.0))
    assert work.user_fault is None
    assert work.lately == Fault(Cause.NOT_APPLIED)


@pytest.mark.parametrize("error", [Refused("invalidparameter"), WriteRefused("dmlwriteexception")])
def test_a_username_that_somebody_else_has_just_taken_is_said_to_be_taken(error: Exception) -> None:
    work = Work(wanted())
    site = cast("MoodleFunctions", Overtaken(error, held_by("22699999")))
    Users(site, SETTINGS).write([work], Deadline.after(10, lambda: 0.0))
    assert work.user_fault == Fault(Cause.USERNAME_TAKEN)
