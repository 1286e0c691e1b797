"""A user of Moodle in the kit's shape, and back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from consumers.kit.connector import Change, TargetObject
from consumers.moodle.intent import owned_fields, wanted_of
from consumers.moodle.objects import object_of, seen_of, user_of, wanted_fields
from consumers.moodle.port import Seen, User, WantedUser
from tests.unit.consumers.moodle.moodle_kit import LOGIN, MAIL, NUMBER, Site, cohort, student

USER = User(7, LOGIN, "cas", NUMBER, "Élodie", "Lefèvre", MAIL, suspended=False, lang="fr")
OWNED = ("username", "auth", "firstname", "lastname", "email", "lang")


def test_a_user_is_shown_with_all_that_tells_whose_it_is() -> None:
    assert object_of(USER, OWNED[:2], ("L1", "L2"), "shortened") == TargetObject(
        ref="7",
        student_number=NUMBER,
        fields={"idnumber": (NUMBER,), "username": (LOGIN,), "auth": ("cas",), "cohorts": ("L1", "L2")},
        open=True,
        names=(("login", LOGIN), ("mail", MAIL)),
        evidence={"family": "Lefèvre", "given": "Élodie"},
        note="shortened",
    )


def test_what_moodle_leaves_empty_is_no_value() -> None:
    shown = object_of(replace(USER, idnumber="", email="", lang="", suspended=True), OWNED, ())
    assert (shown.fields["idnumber"], shown.fields["lang"], shown.fields["cohorts"]) == ((), (), ())
    assert (shown.student_number, shown.open, shown.names) == ("", False, (("login", LOGIN),))


@pytest.mark.parametrize("user", [USER, replace(USER, suspended=True, idnumber="", lang="")])
def test_a_change_takes_the_user_as_it_was_shown(user: User) -> None:
    shown = object_of(user, OWNED, ("L1",))
    assert user_of(shown) == user
    assert seen_of(Change(student(), shown, {})) == Seen(NUMBER, (user,), ("L1",))
    assert seen_of(Change(student(), None, {})) == Seen(NUMBER)


def test_what_is_wanted_is_in_the_form_of_what_is_shown(tmp_path: Path) -> None:
    site = Site(tmp_path, languages={"fr": "fr"})
    intent = wanted_of(student(cohort("L2"), cohort("L1")), site.settings)
    assert isinstance(intent, WantedUser)
    assert wanted_fields(intent) == object_of(USER, owned_fields(site.settings), ("L1", "L2")).fields
