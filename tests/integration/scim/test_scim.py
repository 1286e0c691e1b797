"""The SCIM connector on a real server in a process of its own: what is announced is what the server shows."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pytest

from consumers.kit.connector import Change, Refused, TargetObject
from consumers.kit.deadline import Deadline
from consumers.scim.service import ScimService
from pipeline.errors import CredentialsRefused, Misconfigured
from pipeline.target import Dead, Done
from sandbox.scim import REFUSED, ScimServer
from tests.integration.scim.scim_kit import Eyes, ScimHarness, account, memberships

LEA = account("22600001", "lea.martin", "Martin", "L1")
NAME = "lea.martin@univ-exemple.fr"


@pytest.fixture
def eyes(scim: ScimServer) -> Eyes:
    scim.behave()
    eyes = Eyes(scim)
    eyes.empty()
    scim.forget()
    return eyes


@pytest.fixture
def desk(scim: ScimServer, eyes: Eyes) -> Iterator[ScimHarness]:
    desk = ScimHarness(scim)
    yield desk
    desk.handler.close()


def soon() -> Deadline:
    return Deadline.after(60.0)


def replace_by_hand(eyes: Eyes, stands: dict[str, object]) -> None:
    """Give the only user these values."""
    (one,) = eyes.ask("GET", "/Users?count=1000")["Resources"]
    operations = [{"op": "replace", "path": path, "value": value} for path, value in stands.items()]
    schema = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
    eyes.ask("PATCH", f"/Users/{one['id']}", {"schemas": [schema], "Operations": operations})


# --- whose it is --------------------------------------------------------------------------------------


def test_an_address_that_somebody_else_has_is_a_collision(desk: ScimHarness, eyes: Eyes) -> None:
    eyes.make("/Users", userName="autre", emails=[{"value": "Lea.Martin@etu.univ-exemple.fr"}])
    said = desk.outcome(LEA)
    assert isinstance(said, Dead)
    assert said.cause == "identity_collision"
    assert list(eyes.users()) == ["autre"]


LETTERS = (NAME, NAME.upper(), NAME.title(), "lea.MARTIN@univ-exemple.fr")


@pytest.mark.parametrize("stands", LETTERS)
@pytest.mark.parametrize("login", ["lea.martin", "LEA.MARTIN", "Lea.martin"])
def test_a_name_in_other_letters_is_a_collision(
    desk: ScimHarness, eyes: Eyes, stands: str, login: str
) -> None:
    eyes.make("/Users", userName=stands)
    said = desk.outcome(account("22600001", login, "Martin", "L1"))
    assert isinstance(said, Dead)
    assert said.cause == "identity_collision"
    assert list(eyes.users()) == [stands]


@pytest.mark.parametrize(
    "stands",
    [
        {"name": {"familyName": "MARTIN", "givenName": "Léa"}},
        {"name": {"familyName": "martin", "givenName": "Léa"}},
        {"name": {"familyName": "Martin", "givenName": "Le\u0301a"}},
        {"name": {"familyName": "Martin", "givenName": "Lea"}},
    ],
    ids=str,
)
def test_a_field_that_differs_by_case_or_encoding_alone_is_written(
    desk: ScimHarness, eyes: Eyes, stands: dict[str, object]
) -> None:
    assert isinstance(desk.outcome(LEA), Done)
    wanted = eyes.users()
    replace_by_hand(eyes, stands)
    assert eyes.users() != wanted
    assert isinstance(desk.outcome(LEA, compare=True), Done)
    assert eyes.users() == wanted
    desk.writes()
    assert isinstance(desk.outcome(LEA, compare=True), Done)
    assert desk.writes() == []


@pytest.mark.parametrize(
    "stands",
    [
        {"userName": NAME.upper()},
        {"emails": [{"value": "LEA.MARTIN@etu.univ-exemple.fr", "primary": True}]},
    ],
    ids=str,
)
def test_an_address_in_other_letters_is_the_same_one_and_is_left(
    desk: ScimHarness, eyes: Eyes, stands: dict[str, object]
) -> None:
    """Services fold these as they like (RFC 7643: not caseExact): writing them again would never end."""
    assert isinstance(desk.outcome(LEA), Done)
    replace_by_hand(eyes, stands)
    desk.writes()
    assert isinstance(desk.outcome(LEA, compare=True), Done)
    assert desk.writes() == []


def test_a_number_in_another_case_is_not_this_students(desk: ScimHarness, eyes: Eyes) -> None:
    eyes.make("/Users", userName="autre", externalId="A1B")
    assert isinstance(desk.outcome(account("a1b", "lea.martin", "Martin")), Done)
    assert eyes.users()["autre"] == {"userName": "autre", "externalId": "A1B"}


def test_two_users_with_one_number_wait_for_an_operator(desk: ScimHarness, eyes: Eyes) -> None:
    for name in ("un", "deux"):
        eyes.make("/Users", userName=name, externalId=LEA.student_number)
    said = desk.outcome(LEA)
    assert isinstance(said, Dead)
    assert said.cause == "student_number_ambiguous"


def test_who_was_adopted_gets_the_number_and_stays_the_same(scim: ScimServer, eyes: Eyes) -> None:
    ref = eyes.make("/Users", userName="lmartin", title="Étudiante")
    desk = ScimHarness(scim, adopted={LEA.student_number: ref}, groups=())
    assert isinstance(desk.outcome(LEA), Done)
    assert eyes.ask("GET", f"/Users/{ref}")["externalId"] == LEA.student_number
    assert eyes.users()[NAME]["title"] == "Étudiante"


def test_a_renamed_student_is_found_by_the_number(desk: ScimHarness, eyes: Eyes) -> None:
    desk.outcome(LEA)
    renamed = LEA.model_copy(
        update={"principal": "lea.petit@univ-exemple.fr", "mail": "lea.petit@etu.univ-exemple.fr"}
    )
    assert isinstance(desk.outcome(renamed), Done)
    assert [user["externalId"] for user in eyes.users().values()] == [LEA.student_number]
    assert list(eyes.users()) == ["lea.petit@univ-exemple.fr"]


# --- what is not ours ---------------------------------------------------------------------------------


@pytest.mark.parametrize("quirk", ["no-bulk", "no-patch"])
def test_what_the_service_or_the_student_added_stays(
    scim: ScimServer, desk: ScimHarness, eyes: Eyes, quirk: str
) -> None:
    desk.outcome(LEA)
    ref = next(desk.connector.objects()).ref
    added = {
        "title": "Déléguée",
        "phoneNumbers": [{"value": "0102030405", "type": "mobile"}],
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {"costCenter": "42"},
    }
    own = {"value": "lea@exemple.org", "type": "home"}
    operations = [
        *({"op": "add", "path": path, "value": value} for path, value in list(added.items())[:2]),
        {"op": "add", "value": dict(list(added.items())[2:])},
        {"op": "add", "path": "emails", "value": [own]},
    ]
    schema = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
    eyes.ask("PATCH", f"/Users/{ref}", {"schemas": [schema], "Operations": operations})
    scim.behave(quirk)
    renamed = LEA.model_copy(
        update={
            "mail": "lea.petit@etu.univ-exemple.fr",
            "person": LEA.person.model_copy(update={"usage_name": "Petit"}),
        }
    )
    assert isinstance(desk.outcome(renamed), Done)
    user = eyes.users()[NAME]
    assert {name: user[name] for name in added} == added
    assert user["name"] == {"givenName": "Léa", "familyName": "Petit"}
    assert [(mail["value"], mail.get("primary", False)) for mail in user["emails"]] == [
        ("lea.petit@etu.univ-exemple.fr", True),
        ("lea@exemple.org", False),
    ]


def test_who_was_added_to_a_group_by_hand_stays_in_it(desk: ScimHarness, eyes: Eyes) -> None:
    desk.outcome(LEA)
    prof = eyes.make("/Users", userName="prof")
    group = eyes.ask("GET", "/Groups")["Resources"][0]["id"]
    body = {"Operations": [{"op": "add", "path": "members", "value": [{"value": prof}]}]}
    eyes.ask("PATCH", f"/Groups/{group}", body)
    desk.outcome(LEA.model_copy(update={"groups": ()}))
    assert eyes.groups() == {"Groupe L1": ["prof"]}


def test_a_group_of_somebody_elses_is_left_alone(desk: ScimHarness, eyes: Eyes) -> None:
    eyes.make("/Groups", displayName="groupe l1")
    said = desk.outcome(LEA)
    assert isinstance(said, Dead)
    assert said.cause == "scim_group_not_ours"
    assert eyes.groups() == {"groupe l1": []}


def test_two_groups_of_one_name_are_two_groups(desk: ScimHarness, eyes: Eyes) -> None:
    one, two = memberships("A", "B")
    both = LEA.model_copy(update={"groups": (one, two.model_copy(update={"name": one.name}))})
    assert isinstance(desk.outcome(both), Done)
    assert eyes.groups() == {"Groupe A": [NAME], "Groupe A (B)": [NAME]}


def test_a_group_that_was_removed_is_made_again(desk: ScimHarness, eyes: Eyes) -> None:
    desk.outcome(LEA)
    eyes.ask("DELETE", f"/Groups/{eyes.ask('GET', '/Groups')['Resources'][0]['id']}")
    desk.outcome(LEA)  # it learns that the group is gone
    assert isinstance(desk.outcome(LEA), Done)
    assert eyes.groups() == {"Groupe L1": [NAME]}


def test_what_is_not_given_yet_is_no_group(desk: ScimHarness, eyes: Eyes) -> None:
    early = LEA.model_copy(update={"groups": memberships("L1", met=False)})
    assert isinstance(desk.outcome(early), Done)
    assert eyes.groups() == {}


def test_cohorts_become_groups_where_the_settings_say_so(scim: ScimServer, eyes: Eyes) -> None:
    student = LEA.model_copy(update={"cohorts": memberships("cours")})
    assert isinstance(ScimHarness(scim, groups=("cohorts",)).outcome(student), Done)
    assert eyes.groups() == {"Groupe cours": [NAME]}


# --- many at once -------------------------------------------------------------------------------------


@pytest.mark.parametrize("quirk", ["", "no-bulk", "small-bulk", "bulk-statuses"])
def test_one_of_fifty_is_refused_and_no_other(
    scim: ScimServer, desk: ScimHarness, eyes: Eyes, quirk: str
) -> None:
    scim.behave(*([quirk] if quirk else []))
    students = [account(f"2260{n:04}", f"etudiant{n}", "Martin", "L1") for n in range(50)]
    students[17] = students[17].model_copy(update={"mail": f"etudiant17{REFUSED}"})
    said = desk.outcomes(*students)
    wrong = {number: one for number, one in said.items() if not isinstance(one, Done)}
    assert list(wrong) == ["22600017"]
    assert isinstance(wrong["22600017"], Dead)
    assert wrong["22600017"].cause == "scim_refused"
    assert len(eyes.users()) == 49
    assert len(eyes.groups()["Groupe L1"]) == 49


@pytest.mark.parametrize("quirk", ["no-bulk", "no-patch"])
def test_two_writers_of_one_group_lose_nobody(scim: ScimServer, eyes: Eyes, quirk: str) -> None:
    scim.behave(quirk)
    students = [account(f"2261{n:04}", f"etudiant{n}", "Martin", "L1") for n in range(24)]
    desks = [ScimHarness(scim) for _ in range(4)]
    assert isinstance(desks[0].outcome(LEA), Done)  # the group is there

    def work(which: int) -> None:
        for student in students[which::4]:
            for _ in range(20):
                if isinstance(desks[which].outcome(student), Done):
                    break

    threads = [threading.Thread(target=work, args=(which,)) for which in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert eyes.groups() == {
        "Groupe L1": sorted([NAME, *(f"etudiant{n}@univ-exemple.fr" for n in range(24))])
    }


@pytest.mark.parametrize("quirk", ["no-bulk", "no-patch", "strong-etags"])
def test_what_changed_meanwhile_is_read_again(
    scim: ScimServer, desk: ScimHarness, eyes: Eyes, quirk: str
) -> None:
    desk.outcome(LEA)
    scim.behave(quirk)
    seen = desk.connector.read([LEA], soon())[LEA.student_number]
    assert isinstance(seen, list)
    body = {"Operations": [{"op": "replace", "path": "title", "value": "Déléguée"}]}
    eyes.ask("PATCH", f"/Users/{seen[0].ref}", body)
    refused = desk.connector.apply([Change(LEA, seen[0], {"displayName": ("L. Martin",)})], soon())
    assert refused == {}
    user = eyes.users()[NAME]
    assert (user["displayName"], user["title"]) == ("L. Martin", "Déléguée")


def test_what_is_replaced_is_what_was_read(
    scim: ScimServer, eyes: Eyes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else writes between the reading and the replacement, of a user and of a group."""
    scim.behave("no-patch")
    desk = ScimHarness(scim)
    desk.outcome(LEA)
    prof = eyes.make("/Users", userName="prof")
    read = ScimService.get
    others = {
        "/Users": {"op": "replace", "path": "title", "value": "Déléguée"},
        "/Groups": {"op": "add", "path": "members", "value": [{"value": prof}]},
    }

    def get(service: ScimService, endpoint: str, ref: str, deadline: Deadline) -> object:
        found = read(service, endpoint, ref, deadline)
        if operation := others.pop(endpoint, None):
            eyes.ask("PATCH", f"{endpoint}/{ref}", {"Operations": [operation]})
        return found

    monkeypatch.setattr(ScimService, "get", get)
    zoe = account("22600002", "zoe.muller", "Müller", "L1")
    assert isinstance(desk.outcome(zoe), Done)
    renamed = LEA.model_copy(update={"person": LEA.person.model_copy(update={"usage_name": "Petit"})})
    assert isinstance(desk.outcome(renamed), Done)
    assert others == {}
    assert eyes.groups() == {"Groupe L1": [NAME, "prof", "zoe.muller@univ-exemple.fr"]}
    user = eyes.users()[NAME]
    assert (user["title"], user["name"]["familyName"]) == ("Déléguée", "Petit")


def test_a_name_that_is_taken_by_nobody_that_is_shown(
    desk: ScimHarness, eyes: Eyes, monkeypatch: pytest.MonkeyPatch
) -> None:
    eyes.make("/Users", userName=NAME)
    monkeypatch.setattr(ScimService, "find", lambda *_given: iter(()))  # it is deleted, and keeps its name
    said = desk.outcome(LEA)
    assert isinstance(said, Dead)
    assert said.cause == "scim_taken_unseen"


# --- the service as a whole ---------------------------------------------------------------------------


def test_everybody_is_listed_as_they_are_read_and_the_groups_are_asked_for_once(
    scim: ScimServer, eyes: Eyes
) -> None:
    desk = ScimHarness(scim)
    students = [
        account(f"2260010{each}", f"eleve{each}", "Roux", "L1", f"TD-{each % 2}") for each in range(7)
    ]
    desk.outcomes(*students)
    eyes.make("/Users", userName="prof@univ-exemple.fr")
    read = desk.connector.read(students, soon())
    desk.server.forget()
    listed = {each.student_number: each for each in desk.connector.objects()}
    assert dict(read) == {number: [each] for number, each in listed.items() if number}
    assert listed["22600101"].fields["groups"] == ("L1", "TD-1")
    asked = [each["path"] for each in desk.server.requests()]
    assert len([path for path in asked if "/Groups" in path]) <= 2, "three groups, three on a page"


def test_a_wrong_token_is_the_operators_to_mend(scim: ScimServer, eyes: Eyes) -> None:
    desk = ScimHarness(scim, token_file=None, token="wrong")
    with pytest.raises(CredentialsRefused):
        desk.handler.probe()


def test_an_address_without_scim_says_what_to_set(scim: ScimServer, eyes: Eyes) -> None:
    desk = ScimHarness(scim, url=scim.url.removesuffix("/v2"))
    with pytest.raises(Misconfigured) as told:
        desk.handler.probe()
    assert "scim.url" in told.value.remedy


def test_who_is_gone_already_is_erased(desk: ScimHarness, eyes: Eyes) -> None:
    assert desk.connector.erase([TargetObject("none", "22600001")], soon()) == {}


def test_no_message_holds_anything_personal(desk: ScimHarness, eyes: Eyes) -> None:
    bad = LEA.model_copy(update={"mail": f"lea.martin{REFUSED}"})
    said = desk.outcome(bad)
    assert isinstance(said, Dead)
    assert said.message == "the service answers 400 invalidValue"
    wanted = desk.connector.wanted(bad).fields
    for one in desk.connector.apply([Change(bad, None, wanted, open=True)], soon()).values():
        assert isinstance(one, Refused)
        assert "lea" not in one.message.lower()
    assert "lea" in json.dumps(desk.writes())
