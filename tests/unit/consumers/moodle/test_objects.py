"""A user of Moodle in the kit's shape, and back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from consumers.kit.connector import Change
from consumers.moodle.functions import User
from consumers.moodle.intent import (
    MoodleUser,
    WantedUser,
    object_of,
    owned_fields,
    user_of,
    wanted_fields,
    wanted_of,
)
from tests.unit.consumers.moodle.moodle_kit import LOGIN, MAIL, NUMBER, Site, cohort, student

USER = User(7, LOGIN, "cas", NUMBER, "Élodie", "Lefèvre", MAIL, suspended=False, lang="fr")
OWNED = ("username", "auth", "firstname", "lastname", "email", "lang")


def test_a_user_is_shown_with_all_that_tells_whose_it_is() -> None:
    assert object_of(USER, OWNED[:2], ("L1", "L2"), "shortened") == MoodleUser(
        user=USER,
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


def test_a_change_takes_the_user_as_it_was_shown() -> None:
    assert user_of(Change(student(), object_of(USER, OWNED, ("L1",)), {})) == USER


def test_what_is_wanted_is_in_the_form_of_what_is_shown(tmp_path: Path) -> None:
    site = Site(tmp_path, languages={"fr": "fr"})
    intent = wanted_of(student(cohort("L2"), cohort("L1")), site.settings)
    assert isinstance(intent, WantedUser)
    assert wanted_fields(intent) == object_of(USER, owned_fields(site.settings), ("L1", "L2")).fields
