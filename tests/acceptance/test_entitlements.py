"""Entitlements on real servers, with `sesame run` at work: what opens later, what is not for a student, and a
change of the rows. Rows are read from the settings file, as an operator writes them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import pytest
from click.testing import CliRunner

from sandbox.process import wait_until
from sesame.cli import main
from sesame.cli.errors import ExitCode
from sesame.testing.servers.ldap_tools import search
from sesame.testing.servers.post_office import doveadm
from tests.acceptance.diagnosis_kit import Clinic, clinic

OPENS = date.today() + timedelta(days=3)  # noqa: DTZ011  (the registry's day is UTC's, hours do not matter)
ROWS = f"""
[[lifecycle.entitlements]]
target = "mailbox"
components = ["SAN"]
steps = ["L1*"]
opens_on = {OPENS.isoformat()}

[[lifecycle.entitlements]]
target = "moodle"
components = ["IUT"]
open = false
"""
NO_MOODLE = f"""
[[lifecycle.entitlements]]
target = "moodle"
steps = ["M1*"]
opens_on = {OPENS.isoformat()}
"""
HEALTH = {"COD_CMP": "SAN", "COD_ETP": "L1SAN"}
MASTERS = ("master", "other_master", "third_master")


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clinic]:
    with clinic(tmp_path_factory.mktemp("records"), settings=ROWS) as made:
        students = {
            "late": HEALTH,
            "later": HEALTH,
            "well": {},
            "technician": {"COD_CMP": "IUT", "COD_ETP": "BUT1"},
        }
        students |= {name: {"COD_ETP": "M1INFO"} for name in MASTERS}
        made.enrol(students)
        wait_until(lambda: all(map(made.has_account, students)), "accounts")
        made.activate(*students)
        made.settle(*students)
        yield made


def has_mailbox(here: Clinic, name: str) -> bool:
    """Whether Dovecot finds the user, and the directory lets it."""
    account = here.account(name)
    [(kind, _)] = doveadm(here.world.dovecot, ("mailboxList", {"user": account.mail}))
    base, criterion = here.world.slapd.people_dn, f"(supannEtuId={account.student_number})"
    [entry] = search(here.world.slapd, base, criterion, "sesameMailEnabled").values()
    assert (kind == "doveadmResponse") is (entry["sesameMailEnabled"] == ["TRUE"])
    return kind == "doveadmResponse"


def moodle_state(here: Clinic, name: str) -> list[bool]:
    """Of each of the student's users in Moodle, whether it is open."""
    return [not user["suspended"] for user in here.site.users("idnumber", here.numbers[name])]


def explained(here: Clinic, name: str) -> dict[str, dict[str, Any]]:
    found = json.loads(here.sesame("entitlements", "explain", here.numbers[name], "--json"))
    return {each["target"]: each for each in found["targets"]}


def state_of(here: Clinic, name: str) -> tuple[str, dict[str, str]]:
    found = json.loads(here.sesame("status", here.numbers[name], "--json"))
    return found["state"], {each["target"]: each["state"] for each in found["targets"]}


def restart_with(here: Clinic, rows: str) -> None:
    """Edit the rows in the settings file, and start the pipeline again."""
    file = here.world.settings_file
    kept, _, _ = file.read_text(encoding="utf-8").partition("\n[[lifecycle.entitlements]]")
    with here.pipeline_stopped():
        file.write_text(kept + rows, encoding="utf-8")


def again(here: Clinic) -> None:
    here.sesame("replay", "--consumer", "registry", "--all", "--yes", "--reason", "entitlements")


def plans(here: Clinic) -> list[dict[str, Any]]:
    """What the guard holds of Moodle. A mailbox that was opened before its day is held too."""
    found = json.loads(here.sesame("lifecycle", "held", "--json", allowed=(ExitCode.DONE, ExitCode.HELD)))
    return [plan for plan in found if plan["target"] == "moodle"]


def test_a_service_that_opens_later_is_untouched_and_all_say_when(here: Clinic) -> None:
    assert [has_mailbox(here, name) for name in ("late", "later", "well")] == [False, False, True]
    assert [moodle_state(here, name) for name in ("late", "later")] == [[True], [True]]
    assert state_of(here, "late") == (
        "waiting",
        {"directory": "provisioned", "mailbox": "waiting", "moodle": "provisioned"},
    )
    found = here.await_rule("late", "opens_later", service="mailbox")
    assert found.evidence["opens on"] == OPENS
    assert here.rules("late") == ["opens_later", "cas_not_tried"]
    mail = explained(here, "late")["mailbox"]
    assert (mail["given"], mail["row"], mail["opens_on"]) == ("later", 1, OPENS.isoformat())
    assert explained(here, "well")["mailbox"]["passed"] == [{"row": 1, "lacks": ["components"]}]
    assert "ce service s’ouvre le" in here.page("late")


def test_a_service_that_is_not_for_a_student_is_untouched_and_all_else_is_complete(here: Clinic) -> None:
    assert (moodle_state(here, "technician"), has_mailbox(here, "technician")) == ([], True)
    assert state_of(here, "technician") == (
        "completed",
        {"directory": "provisioned", "mailbox": "provisioned", "moodle": "not_entitled"},
    )
    assert here.rules("technician") == ["not_entitled", "cas_not_tried"]
    moodle = explained(here, "technician")["moodle"]
    assert (moodle["now"], moodle["given"], moodle["row"]) == ("none", "none", 2)
    page = here.page("technician")
    assert "ce service n’est pas prévu pour vous" in page
    assert "2 services sur 3 sont prêts." in page, "the login was not tried"


def test_it_opens_on_its_day_by_time_alone(here: Clinic) -> None:
    registry = here.registry_in(3, here.app.settings.lifecycle)
    with here.app.database.write() as connection:
        registry.due(connection, here.numbers["late"], time.time() + 3 * 86_400)
    wait_until(lambda: has_mailbox(here, "late"), "the mailbox")
    here.settle("late")
    assert state_of(here, "late")[0] == "completed"
    assert not has_mailbox(here, "later")


def test_a_change_of_the_rows_shuts_nobody_until_an_operator_has_released_it(here: Clinic) -> None:
    restart_with(here, ROWS + NO_MOODLE)
    preview = json.loads(here.sesame("entitlements", "preview", "--json"))
    numbers = sorted(here.numbers[name] for name in MASTERS)
    changed = {(each["student_number"], each["target"], each["after"]) for each in preview["changes"]}
    assert changed >= {(number, "moodle", "shut") for number in numbers}
    rows = {(each["target"], each["row"]): each for each in preview["rows"]}
    assert (rows["moodle", 3]["students"], rows["moodle", 3]["changed"]) == (3, 3)
    assert (rows["moodle", None]["students"], rows["moodle", None]["changed"]) == (3, 0)
    passed = {(each["target"], each["row"], *each["lacks"]): each["students"] for each in preview["passed"]}
    assert passed["moodle", 2, "components"] == passed["moodle", 3, "steps"] + len(MASTERS)
    assert passed["moodle", 3, "steps"] == rows["moodle", None]["students"]
    assert plans(here) == []
    again(here)
    wait_until(lambda: [plan["students"] for plan in plans(here)] == [numbers], "the guard to hold them")
    assert [moodle_state(here, name) for name in MASTERS] == [[True]] * 3
    here.settle(*MASTERS)
    assert here.rules("master") == ["cas_not_tried"], "it is open still"
    assert "ce service s’ouvre le" not in here.page("master")
    assert "– ouvert" in here.page("master")
    here.sesame("lifecycle", "release", plans(here)[0]["id"])
    wait_until(lambda: [moodle_state(here, name) for name in MASTERS] == [[False]] * 3, "Moodle to be shut")
    assert plans(here) == []
    here.settle(*MASTERS)
    assert here.rules("master") == ["opens_later", "cas_not_tried"]
    assert "ce service s’ouvre le" in here.page("master")
    assert "– ouvert" not in here.page("master")
    assert "Access is shut there." in here.sesame("status", here.numbers["master"])
    assert [moodle_state(here, name) for name in ("well", "late")] == [[True], [True]]
    restart_with(here, ROWS)
    again(here)
    wait_until(lambda: [moodle_state(here, name) for name in MASTERS] == [[True]] * 3, "Moodle to be open")


def test_rows_that_contradict_are_refused_with_their_place(here: Clinic) -> None:
    file = here.world.settings_file
    good = file.read_text(encoding="utf-8").partition("\n[[lifecycle.entitlements]]")[0] + ROWS
    wrong = '\n[[lifecycle.entitlements]]\ntarget = "moodle"\ncomponents = ["IUT"]\nsteps = ["BUT1"]\n'
    try:
        for rows, said in (
            (wrong, "row 3 of entitlements never counts: row 2"),
            (wrong.replace("moodle", "directory"), "directory is for everybody"),
            (wrong.replace("moodle", "moodel"), "did you mean moodle?"),
        ):
            file.write_text(good + rows, encoding="utf-8")
            found = CliRunner().invoke(main, ["--config", str(file), "entitlements", "preview"])
            assert (found.exit_code, said in found.output) == (ExitCode.USAGE, True), found.output
    finally:
        file.write_text(good, encoding="utf-8")
