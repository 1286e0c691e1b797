"""The suite is shown to catch: each of these faults is one that an author makes, and a check names it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import pytest

from consumers.kit import registration
from consumers.kit.connector import Change, Level
from pipeline.target import Done
from sesame.testing.connector import levels
from sesame.testing.connector.bench import ConnectorBench, Skipped
from sesame.testing.connector.checks import CHECKS
from tests.connectors.sample import sample

MARKS = "what_others_change_is_told_since_a_mark"


@dataclass(frozen=True)
class Planted:
    """A fault in the sample, and the checks that must be red for it.

    Attributes:
        old, new: a text of the sample, and what stands there instead.
        caught: by at least these.
    """

    old: str
    new: str
    caught: tuple[str, ...]


FAULTS = {
    "the probe believes whatever answers": Planted(
        'self.http.fetch("/patrons", Deadline.after(self.settings.verb_s_max), params={"login": ""})',
        'self.http.call("GET", "/patrons", Deadline.after(self.settings.verb_s_max))',
        ("a_wrong_address_fails_the_probe",),
    ),
    "the number is not written": Planted(
        'body["number"] = change.account.student_number',
        'body["number"] = ""',
        ("a_new_student_is_there_when_it_is_said",),
    ),
    "the number is believed, not read": Planted(
        'TargetObject(patron["id"], patron["number"], fields',
        'TargetObject(patron["id"], patron["number"] or "zz", fields',
        ("foreign_objects_are_never_taken_over",),
    ),
    "whoever holds the login is ours": Planted(
        "        return list(found.values())",
        "        return [replace(each, student_number=account.student_number) for each in found.values()]",
        ("foreign_objects_are_never_taken_over",),
    ),
    "strangers are not looked for": Planted(
        '(("number", account.student_number), ("login", account.login))',
        '(("number", account.student_number),)',
        ("foreign_objects_are_never_taken_over", "an_adopted_object_is_the_students"),
    ),
    "names are compared in capitals": Planted(
        "fields = {name: (patron[name],) for name in Library.owns}",
        "fields = {name: (patron[name].upper(),) for name in Library.owns}",
        ("a_new_student_is_there_when_it_is_said", "the_second_run_plans_nothing_and_writes_nothing"),
    ),
    "a field is shown as it is wanted": Planted(
        "fields = {name: (patron[name],) for name in Library.owns}",
        'fields = {name: (patron[name],) for name in Library.owns} | {"name": ("Zoé Éssai",)}',
        ("only_what_differs_is_written",),
    ),
    "everything is written each time": Planted(
        "body = {name: values[0] for name, values in change.fields.items()}",
        "body = {name: 'x' + values[0] for name, values in self.wanted(change.account).fields.items()}",
        ("a_new_student_is_there_when_it_is_said",),
    ),
    "one refusal refuses all": Planted(
        "return one_by_one(changes, deadline, lambda change: self.write(change, deadline))",
        "bad = [*one_by_one(changes, deadline, lambda change: self.write(change, deadline)).values()]\n"
        "        return {each.account.student_number: bad[0] for each in changes if bad}",
        ("one_refused_student_is_found_among_fifty",),
    ),
    "access is never shut": Planted(
        'body["blocked"] = not change.open',
        'body["blocked"] = False',
        ("access_is_shut_first_and_alone", "closing_only_shuts_and_does_nothing_else"),
    ),
    "shut access stays shut": Planted(
        "        if change.open is not None:\n",
        "        if change.open is False or change.found is None:\n",
        ("shut_access_opens_again",),
    ),
    "shutting rewrites the name": Planted(
        "        return self.apply(changes, deadline)  # of these, nothing differs but the access",
        "        again = [replace(c, fields=self.wanted(c.account).fields) for c in changes]\n"
        "        return self.apply(again, deadline)",
        ("closing_only_shuts_and_does_nothing_else",),
    ),
    "access is shown open": Planted(
        'fields, not patron["blocked"], names)', "fields, True, names)", ("access_is_shut_first_and_alone",)
    ),
    "everybody is held at once": Planted(
        "        while page := self.page(after):\n            yield from map(shown, page)\n"
        '            after = page[-1]["id"]',
        "        found = []\n        while page := self.page(after):\n            found += map(shown, page)\n"
        '            after = page[-1]["id"]\n        return found',
        ("objects_shows_everybody_once",),
    ),
    "the first page is everybody": Planted(
        "        while page := self.page(after):",
        "        if page := self.page(after):",
        ("objects_shows_everybody_once",),
    ),
    "erasing only shuts": Planted(
        'refusal(self.http.call("DELETE", f"/patrons/{each.ref}", deadline))',
        'refusal(self.http.call("PATCH", f"/patrons/{each.ref}", deadline, body={"blocked": True}))',
        ("erased_means_not_found",),
    ),
    "a letter with a meaning is dropped": Planted(
        "body = {name: values[0] for name, values in change.fields.items()}",
        "body = {name: values[0].replace('*', '') for name, values in change.fields.items()}",
        ("names_of_any_letters_are_written_as_they_are",),
    ),
    "numbers are looked for in small letters": Planted(
        'patrons = self.http.fetch("/patrons", deadline, params={key: value})',
        'patrons = self.http.fetch("/patrons", deadline, params={key: value.lower()})\n'
        "            patrons = [each | {key: value} for each in patrons]",
        ("a_number_in_other_letters_is_another_students",),
    ),
    "whoever holds the login in capitals is ours": Planted(
        "        return list(found.values())",
        '        patrons = self.http.fetch("/patrons", deadline, params={"login": account.login.upper()})\n'
        "        mine = {'student_number': account.student_number}\n"
        '        found |= {each["id"]: replace(shown(each), **mine) for each in patrons}\n'
        "        return list(found.values())",
        ("a_foreign_object_in_other_letters_stays_as_it_is",),
    ),
    "nobody means everybody": Planted(
        "deadline)) for each in found\n",
        "deadline)) for each in found or self.objects()\n",
        ("an_empty_call_touches_no_student",),
    ),
    "a reason without words": Planted(
        'return Refused("library_refused",', 'return Refused("library_refusal",', ("every_reason_has_words",)
    ),
    "French only": Planted(
        'en=("The library refuses this student\'s data.", "Correct them, then replay."),',
        'en=("", ""),',
        ("every_reason_has_words",),
    ),
    "a field that is not described": Planted(
        'owns = ("login", "mail", "name")', 'owns = ("login", "name")', ("it_describes_what_it_owns",)
    ),
    "certificates are not verified": Planted(
        "        self.http = HttpClient(context, self.settings.url)",
        "        self.http = HttpClient(context, self.settings.url)\n"
        "        self.http._http = httpx.Client(verify=False)",
        ("certificates_are_verified",),
    ),
    "writes are sent as reads": Planted(
        'return refusal(self.http.call("POST", "/patrons", deadline, body=body))',
        'return refusal(self.http.call("POST", "/patrons", deadline, body=body, reads=True))',
        ("read_only_never_writes", "a_reset_after_the_write_is_compared_before_it_is_written_again"),
    ),
    "a lost answer is a refusal": Planted(
        'return refusal(self.http.call("POST", "/patrons", deadline, body=body))',
        "return self.careless(body, deadline)",
        (
            "a_time_out_after_the_write_is_compared_before_it_is_written_again",
            "half_an_answer_is_compared_before_it_is_written_again",
        ),
    ),
    "throttling is a refusal": Planted(
        'return refusal(self.http.call("POST", "/patrons", deadline, body=body))',
        'return refusal(self.http.call("POST", "/patrons", deadline, body=body, expect=(429,)))',
        ("throttling_is_honoured",),
    ),
}

_CARELESS = """
    def careless(self, body, deadline):
        try:
            return refusal(self.http.call("POST", "/patrons", deadline, body=body))
        except Exception as error:
            return Refused("library_refused", str(error))

    def disconnect(self) -> None:"""

_IMPORTS = "from dataclasses import replace\n\nimport httpx\n\nfrom consumers.kit.connector import"


def red(bench: ConnectorBench, name: str) -> bool:
    """Whether a check is not passed; one that says nothing is not red."""
    try:
        CHECKS[name](bench)
    except Skipped:
        return False
    except Exception:  # noqa: BLE001 (whatever it is red by)
        return True
    return False


@pytest.mark.parametrize("fault", FAULTS)
def test_the_suite_names_a_planted_fault(fault: str, tmp_path: Path) -> None:
    planted = FAULTS[fault]
    also = [
        ("from consumers.kit.connector import", _IMPORTS),
        ("\n    def disconnect(self) -> None:", _CARELESS),
    ]
    with sample(tmp_path, [(planted.old, planted.new), *also]) as bench:
        assert [name for name in planted.caught if red(bench, name)] == list(planted.caught)


@pytest.mark.parametrize("name", sorted(CHECKS.keys() - {MARKS}))
def test_the_sample_as_it_is_passes(name: str, tmp_path: Path) -> None:
    with sample(tmp_path) as bench:
        CHECKS[name](bench)


KIT_FAULTS: dict[str, tuple[str, Callable[..., object], tuple[str, ...]]] = {
    "what a write answered is believed": (
        "_after",
        lambda *_: Done("sha256:" + 64 * "0", changed=True),
        ("nothing_is_announced_that_was_not_read_back", "a_lying_success_is_not_announced"),
    ),
    "nobody is shut first": (
        "_BatchCall._shut",
        lambda *_: (),
        ("access_is_shut_first_and_alone", "closing_only_shuts_and_does_nothing_else"),
    ),
    "what is shut is not looked at": (
        "_change",
        lambda *_: None,
        ("a_shut_that_did_not_happen_is_not_announced", "shut_access_opens_again"),
    ),
    "everybody gets an object": (
        "_change",
        lambda account, wanted, found: Change(account, found, dict(wanted.fields), account.access_open),
        ("nobody_without_access_gets_an_object", "the_second_run_plans_nothing_and_writes_nothing"),
    ),
}
"""Faults of the handler that drives the verbs: a name in it, what stands there instead, and the checks."""


@pytest.mark.parametrize("fault", KIT_FAULTS)
def test_the_suite_names_a_fault_of_the_handler(fault: str, tmp_path: Path) -> None:
    name, instead, caught = KIT_FAULTS[fault]
    with sample(tmp_path) as bench, patch(f"consumers.kit.handler.{name}", instead):
        assert [check for check in caught if red(bench, check)] == list(caught)


def outcomes_of(bench: ConnectorBench) -> levels.Outcomes:
    outcomes: levels.Outcomes = {}
    for name in CHECKS:
        with suppress(Exception):  # it is in the outcomes
            levels.run(bench, name, outcomes)
    return outcomes


def test_a_level_is_decided_by_what_passed_and_what_is_said_to_be_lacking(tmp_path: Path) -> None:
    with sample(tmp_path) as bench:
        outcomes = outcomes_of(bench)
        assert levels.obstacles(bench.connector, "silver", outcomes) == []
        assert levels.obstacles(bench.connector, "gold", outcomes) == [
            f"gold: {MARKS}: the connector has no changes_since"
        ]
        bench.connector.lacks = {"changes_since": "the library has no cursor"}
        assert levels.obstacles(bench.connector, "gold", outcomes) == []
        assert "no proven.json" in levels.obstacles(bench.connector, "platinum", outcomes)[0]
        levels.record(bench, outcomes)
        assert levels.obstacles(bench.connector, "platinum", outcomes), "a stand-in proves nothing"
        bench.product = "Library 3.1"
        levels.record(bench, outcomes)
        assert levels.obstacles(bench.connector, "platinum", outcomes) == []
        assert registration.proof(bench.connector).product == "Library 3.1"
        registration.proof_file(bench.connector).write_text('{"product": "Library 3.1", "passed": []}')
        assert "no proven.json" in levels.obstacles(bench.connector, "platinum", outcomes)[0], "no date"


def test_a_bench_that_leaves_out_faults_or_the_leader_is_no_way_to_a_level(tmp_path: Path) -> None:
    with sample(tmp_path) as bench:
        bench.address = ""
        found = levels.obstacles(bench.connector, "silver", outcomes_of(bench))
        assert any("a_refused_certificate" in each or "network" in each for each in found), found
        bench.connector.follows = "directory"
        found = levels.obstacles(bench.connector, "bronze", outcomes_of(bench))
        assert any("a_new_student_is_there_when_it_is_said" in each for each in found), found


@pytest.mark.parametrize(
    ("fault", "level"),
    [
        ("the number is not written", "bronze"),
        ("whoever holds the login is ours", "silver"),
        ("erasing only shuts", "gold"),
    ],
)
def test_a_level_is_refused_for_a_fault_of_it(fault: str, level: Level, tmp_path: Path) -> None:
    planted = FAULTS[fault]
    with sample(tmp_path, [(planted.old, planted.new)]) as bench:
        bench.connector.lacks = {"changes_since": "the library has no cursor"}
        found = levels.obstacles(bench.connector, level, outcomes_of(bench))
    assert any(each.startswith(f"{level}: ") for each in found), found
    assert {each.partition(":")[0] for each in found} <= {"bronze", level}


def test_every_check_is_seen_to_catch_something_or_says_why_not() -> None:
    tried = {name for planted in FAULTS.values() for name in planted.caught}
    tried |= {name for *_, caught in KIT_FAULTS.values() for name in caught}
    assert len(FAULTS) >= 15
    assert sorted(CHECKS.keys() - tried) == sorted(UNTRIED)


UNTRIED = {
    MARKS: "the sample's service has no cursor; Koha's is tried",
    "the_probe_succeeds": "its opposite is a target that is away",
    "only_who_was_asked_for_is_answered": "the kit's handler asks for outcomes by the students it was given",
    "a_target_that_is_away_charges_nobody": "the kit's client says so of every call",
    "a_call_ends_within_its_time": "the kit's client bounds every call",
}
"""Checks for which no fault was planted, since what they look at is not the author's to get wrong."""
