"""Koha's odd answers, on the stand-in: what it holds is the oracle."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from consumers.kit.connector import AdoptedRef
from consumers.koha.connector import KohaConnector
from consumers.koha.patrons import PAGE
from pipeline.errors import CredentialsRefused, Misconfigured, TargetDown
from pipeline.target import Closed, Dead, Done, HandlerOutcome, Retry, Waiting
from sandbox.koha import KohaServer, Library
from schemas.account import Account, Hold, Person, Stage
from sesame.testing.servers.accounts import account_of
from sesame.testing.servers.connector_harness import ConnectorHarness

TODAY = datetime.now(UTC).date()
END = date(TODAY.year + 1, 9, 30)
OF_THE_LIBRARIANS = {
    "staff_notes": "  Prêt de portable, voir M. Œuf\r\n(« relance » n° 2)  ",
    "opac_notes": "",
    "altcontact_surname": "MÜLLER",
    "address": "3, rue de l'Été",
    "sms_provider_id": 7,
    "privacy": 2,
    "date_enrolled": "2024-09-01",
    "last_seen": "2026-11-30T08:12:45+01:00",
    "incorrect_address": True,
    "autorenew_checkouts": False,
    "statistics_1": "L2",
}


@pytest.fixture
def koha() -> Iterator[KohaServer]:
    with KohaServer() as server:
        yield server


@pytest.fixture
def library(koha: KohaServer) -> Library:
    return koha.library


@pytest.fixture
def desk(koha: KohaServer) -> Iterator[ConnectorHarness]:
    made = harness(koha)
    yield made
    made.handler.close()


def harness(koha: KohaServer, **changes: Any) -> ConnectorHarness:
    section = {
        "url": f"http://{koha.address}/api/v1",
        "token": koha.login,
        "library": "BU",
        "category": "ETU",
    }
    context = {name: changes.pop(name) for name in ("adopted",) if name in changes}
    return ConnectorHarness(KohaConnector, section | changes, **context)


def account(number: str = "22600001", login: str = "lea.martin", **changes: Any) -> Account:
    return account_of(number, login, **{"valid_until": END} | changes)


def renamed(one: Account) -> Account:
    person = Person(birth_name="D'Été-Müller", given_name="Zoé")
    return one.model_copy(update={"version": 2, "person": person})


def shut(one: Account) -> Account:
    return one.model_copy(update={"version": one.version + 1, "holds": frozenset({Hold.SUSPENDED})})


def only(library: Library, **having: object) -> dict[str, Any]:
    """The one patron with these values, as Koha holds it."""
    (found,) = [
        patron
        for patron in library.patrons.values()
        if all(patron[name] == value for name, value in having.items())
    ]
    return found


def writes(koha: KohaServer) -> list[str]:
    return [call for call in koha.calls if not call.startswith("GET")]


def cause(outcome: HandlerOutcome) -> str:
    assert isinstance(outcome, Dead | Retry), outcome
    return outcome.cause


# --- a patron ----------------------------------------------------------------------------------------


def test_a_new_student_has_a_patron_with_all_that_is_wanted(desk: ConnectorHarness, library: Library) -> None:
    assert isinstance(desk.outcome(account()), Done)
    patron = only(library)
    wanted = {
        "cardnumber": "22600001",
        "userid": "lea.martin",
        "email": "lea.martin@etu.univ-exemple.fr",
        "surname": "Martin",
        "firstname": "Léa",
        "expiry_date": END.isoformat(),
        "library_id": "BU",
        "category_id": "ETU",
    }
    assert {name: patron[name] for name in wanted} == wanted
    assert patron["date_of_birth"] is None


def test_a_person_with_one_name_has_it_as_the_surname(desk: ConnectorHarness, library: Library) -> None:
    assert isinstance(desk.outcome(account(person=Person(given_name="Suharto"))), Done)
    patron = only(library)
    assert (patron["surname"], patron["firstname"]) == ("Suharto", None)


def test_a_second_turn_writes_nothing(desk: ConnectorHarness, koha: KohaServer) -> None:
    desk.outcome(account())
    koha.calls.clear()
    done = desk.outcome(account())
    assert isinstance(done, Done)
    assert not done.changed
    assert writes(koha) == []


def test_what_librarians_wrote_survives_a_rename_byte_for_byte(
    desk: ConnectorHarness, library: Library
) -> None:
    library.libraries.add("SITE2")
    library.categories.add("DOCT")
    desk.outcome(account())
    key = only(library)["patron_id"]
    library.edit(key, **OF_THE_LIBRARIANS, library_id="SITE2", category_id="DOCT")
    before = dict(library.patrons[key])
    assert isinstance(desk.outcome(renamed(account())), Done)
    after = library.patrons[key]
    assert (after["surname"], after["firstname"]) == ("D'Été-Müller", "Zoé")
    ours = {"surname", "firstname", "updated_on"}
    assert {name for name in before if after[name] != before[name]} <= ours


def test_the_number_goes_where_the_site_keeps_it_and_the_card_s_own_number_stays(
    koha: KohaServer, library: Library
) -> None:
    desk = harness(koha, number_field="statistics_2")
    key = library.add(surname="Martin", statistics_2="22600001", cardnumber="29001234567890")
    assert isinstance(desk.outcome(account()), Done)
    patron = only(library)
    assert (patron["patron_id"], patron["userid"]) == (key, "lea.martin")
    assert (patron["cardnumber"], patron["statistics_2"]) == ("29001234567890", "22600001")
    desk.handler.close()


# --- access ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [END, None])
def test_access_is_shut_and_opened_again_by_the_expiry_date_and_nothing_else(
    desk: ConnectorHarness, library: Library, end: date | None
) -> None:
    one = account(valid_until=end)
    desk.outcome(one)
    key = only(library)["patron_id"]
    library.edit(key, **OF_THE_LIBRARIANS)
    before = dict(library.patrons[key])
    assert isinstance(desk.outcome(shut(one)), Done)
    closed = dict(library.patrons[key])
    yesterday = datetime.now(UTC).date() - timedelta(days=1)  # the suite may run across midnight
    assert closed["expiry_date"] < yesterday.isoformat(), "over in every time zone"
    assert {name for name in before if closed[name] != before[name]} <= {"expiry_date", "updated_on"}
    assert isinstance(desk.outcome(one.model_copy(update={"version": 3})), Done)
    assert library.patrons[key]["expiry_date"] == (end.isoformat() if end else None)


def test_closing_alone_writes_the_expiry_date_alone(desk: ConnectorHarness, library: Library) -> None:
    desk.outcome(account())
    before = dict(only(library))
    assert isinstance(desk.outcome(shut(renamed(account())), close_only=True), Closed)
    after = only(library)
    assert {name for name in before if after[name] != before[name]} - {"updated_on"} == {"expiry_date"}


def test_an_account_without_an_end_keeps_the_date_that_koha_gave(
    desk: ConnectorHarness, library: Library
) -> None:
    assert isinstance(desk.outcome(account(valid_until=None)), Done)
    given = only(library)["expiry_date"]
    assert given > TODAY.isoformat(), "of the category"
    assert isinstance(desk.outcome(renamed(account(valid_until=None))), Done)
    assert only(library)["expiry_date"] == given


# --- whose it is -------------------------------------------------------------------------------------


def test_two_students_have_two_patrons(desk: ConnectorHarness, library: Library) -> None:
    zoe = account("22600002", "zoe.ete", person=Person(birth_name="Été", given_name="Zoé"))
    assert all(isinstance(each, Done) for each in desk.outcomes(account(), zoe).values())
    assert only(library, cardnumber="22600001")["surname"] == "Martin"
    assert only(library, cardnumber="22600002")["surname"] == "Été"


def test_numbers_that_differ_by_case_alone_are_two_persons(desk: ConnectorHarness, library: Library) -> None:
    first, second = account("a1", "lea.martin"), account("A1", "leo.martin")
    assert isinstance(desk.outcome(first), Done)
    before = dict(only(library))
    assert cause(desk.outcome(second)) == "identity_collision", "Koha compares card numbers without case"
    assert only(library) == before


@pytest.mark.parametrize("userid", ["lea.martin", "LEA.MARTIN", "Léa.Martin"])
@pytest.mark.parametrize("cardnumber", [None, "STAFF-7"])
def test_a_member_of_the_staff_with_the_login_is_never_taken_over(
    desk: ConnectorHarness, library: Library, koha: KohaServer, userid: str, cardnumber: str | None
) -> None:
    library.add(surname="Martin", userid=userid, cardnumber=cardnumber, category_id="PERS")
    before = dict(only(library))
    assert cause(desk.outcome(account())) == "identity_collision"
    desk.outcome(shut(account()))
    assert only(library) == before
    assert not [call for call in koha.calls if call.startswith("PUT")]


def test_a_patron_adopted_under_another_login_gets_the_number(koha: KohaServer, library: Library) -> None:
    key = library.add(surname="MARTIN", userid="lmartin", expiry_date=END.isoformat())
    desk = harness(koha, adopted=lambda numbers: {each: str(key) for each in numbers})
    assert isinstance(desk.outcome(account()), Done)
    patron = only(library)
    assert (patron["patron_id"], patron["cardnumber"], patron["userid"]) == (key, "22600001", "lea.martin")
    desk.handler.close()


def test_adopted_patrons_with_numbers_of_cards_are_written_shut_and_erased(
    koha: KohaServer, library: Library
) -> None:
    cards = {"22600001": "29001234567890", "22600002": "29001234567891"}
    logins = {"22600001": "lea.martin", "22600002": "noe.ruiz"}
    until = END.isoformat()
    keys = {
        number: library.add(surname="X", userid=logins[number], cardnumber=card, expiry_date=until)
        for number, card in cards.items()
    }
    refs = {number: AdoptedRef(str(key), cards[number]) for number, key in keys.items()}
    desk = harness(koha, adopted=lambda numbers: {each: refs[each] for each in numbers if each in refs})
    lea, noe = (account(number, login) for number, login in logins.items())
    assert isinstance(desk.outcome(shut(lea)), Done)
    assert library.patrons[keys["22600001"]]["expiry_date"] < TODAY.isoformat()
    assert isinstance(desk.outcome(noe), Done)
    assert {patron["cardnumber"] for patron in library.patrons.values()} == {*cards}
    library.edit(keys["22600002"], cardnumber="29009999999999")  # another card: whose is not known any more
    assert isinstance(desk.outcome(shut(noe)), Dead)
    assert isinstance(desk.outcome(lea.model_copy(update={"stage": Stage.ERASED})), Done)
    assert [*library.patrons] == [keys["22600002"]]
    desk.handler.close()


def test_whom_the_guard_holds_open_after_the_last_day_stays_open(
    desk: ConnectorHarness, library: Library
) -> None:
    yesterday = TODAY - timedelta(days=1)
    people = [account(), account("22600002", "noe.ruiz")]
    desk.outcomes(*people)
    library.edit(only(library, cardnumber="22600002")["patron_id"], expiry_date=yesterday.isoformat())
    held = [
        each.model_copy(update={"version": 2, "stage": Stage.GRACE, "valid_until": yesterday})
        for each in people
    ]
    assert [type(each) for each in desk.outcomes(*held).values()] == [Done, Done]
    until = {patron["cardnumber"]: patron["expiry_date"] for patron in library.patrons.values()}
    assert until == {"22600001": END.isoformat(), "22600002": None}
    assert [type(each) for each in desk.outcomes(*held).values()] == [Done, Done]
    over = held[0].model_copy(update={"version": 3, "stage": Stage.EXPIRED})
    assert isinstance(desk.outcome(over), Done)
    assert only(library, cardnumber="22600001")["expiry_date"] < TODAY.isoformat()


def test_a_patron_who_has_another_number_since_it_was_read_is_left_alone(
    desk: ConnectorHarness, library: Library, koha: KohaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.outcome(account())
    key = only(library)["patron_id"]
    before_writing(desk, monkeypatch, lambda: library.edit(key, cardnumber="22699999"))
    koha.calls.clear()
    outcome = desk.outcome(renamed(account()))
    assert isinstance(outcome, Dead)
    assert only(library)["surname"] == "Martin"
    assert writes(koha) == []


def test_what_a_librarian_writes_between_reading_and_writing_stays(
    desk: ConnectorHarness, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.outcome(account())
    key = only(library)["patron_id"]
    before_writing(desk, monkeypatch, lambda: library.edit(key, staff_notes="à l'instant"))
    assert isinstance(desk.outcome(renamed(account())), Done)
    patron = only(library)
    assert (patron["staff_notes"], patron["firstname"]) == ("à l'instant", "Zoé")


def before_writing(
    desk: ConnectorHarness, monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]
) -> None:
    """Let somebody act after the connector read and before it writes."""
    apply = desk.connector.apply

    def acted(*arguments: Any) -> Any:
        act()
        return apply(*arguments)

    monkeypatch.setattr(desk.connector, "apply", acted)


# --- refusals ----------------------------------------------------------------------------------------


def test_a_login_taken_meanwhile_is_a_conflict_and_nobody_is_made(
    desk: ConnectorHarness, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    before_writing(desk, monkeypatch, lambda: library.add(surname="Autre", userid="Lea.Martin"))
    assert cause(desk.outcome(account())) == "koha_taken"
    assert only(library)["surname"] == "Autre"


def test_a_login_taken_meanwhile_is_a_conflict_on_updating_too(
    desk: ConnectorHarness, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.outcome(account())
    before = dict(only(library))
    before_writing(desk, monkeypatch, lambda: library.add(surname="Autre", userid="zoe.ete"))
    assert cause(desk.outcome(account(login="zoe.ete", version=2))) == "koha_taken"
    assert only(library, cardnumber="22600001") == before


def test_a_library_that_koha_does_not_know_is_named(koha: KohaServer, library: Library) -> None:
    desk = harness(koha, library="AILLEURS")
    outcome = desk.outcome(account())
    assert isinstance(outcome, Dead)
    assert (outcome.cause, "Given library_id does not exist" in outcome.message) == ("koha_refused", True)
    assert not library.patrons
    desk.handler.close()


def test_a_mandatory_attribute_is_named(desk: ConnectorHarness, library: Library) -> None:
    library.mandatory_attribute = "INE"
    outcome = desk.outcome(account())
    assert isinstance(outcome, Dead)
    assert "(type=INE)" in outcome.message
    assert not library.patrons


def test_a_bare_500_is_that_student_s_and_is_tried_again(desk: ConnectorHarness, library: Library) -> None:
    outcomes = desk.outcomes(account(login="x" * 80), account("22600002", "zoe.ete"))
    assert cause(outcomes["22600001"]) == "koha_error"
    assert isinstance(outcomes["22600001"], Retry)
    assert isinstance(outcomes["22600002"], Done)
    assert only(library)["userid"] == "zoe.ete"


def test_a_student_who_administers_koha_does_not_stop_the_others(
    desk: ConnectorHarness, library: Library
) -> None:
    one, other = account(), account("22600002", "zoe.ete")
    desk.outcome(one)
    library.superlibrarians.add(only(library)["patron_id"])
    moved = one.model_copy(update={"version": 2, "mail": "lea.autre@etu.univ-exemple.fr"})
    outcomes = desk.outcomes(moved, other)
    assert cause(outcomes["22600001"]) == "koha_refused"
    assert isinstance(outcomes["22600002"], Done)
    assert only(library, userid="lea.martin")["email"] == one.mail


def test_without_the_right_to_write_patrons_the_target_stops(
    desk: ConnectorHarness, koha: KohaServer, library: Library
) -> None:
    koha.may_write = False
    with pytest.raises(Misconfigured, match="403"):
        desk.outcome(account())
    assert not library.patrons


def test_a_success_that_has_an_error_in_it_is_none(
    desk: ConnectorHarness, koha: KohaServer, library: Library
) -> None:
    koha.lies = True
    assert cause(desk.outcome(account())) == "koha_error"
    assert not library.patrons
    koha.lies = False
    desk.outcome(account())
    koha.lies = True
    assert desk.erase(*desk.objects())
    assert only(library)["userid"] == "lea.martin"


def test_maintenance_is_the_service_s_trouble(desk: ConnectorHarness, koha: KohaServer) -> None:
    koha.maintenance = True
    with pytest.raises(TargetDown):
        desk.outcome(account())
    with pytest.raises(TargetDown):
        desk.connector.probe()


def test_a_wrong_password_stops_the_target(koha: KohaServer) -> None:
    desk = harness(koha, token="sesame:wrong")
    with pytest.raises(CredentialsRefused):
        desk.outcome(account())
    desk.handler.close()


def test_a_patron_that_koha_hides_is_never_sent_back_empty(desk: ConnectorHarness, library: Library) -> None:
    desk.outcome(account())
    before = dict(only(library))
    library.hidden.add("BU")
    with pytest.raises(Misconfigured, match="hides"):
        desk.outcome(renamed(account()))
    assert only(library) == before


# --- erasing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("owed", ["loans", "debts"])
def test_a_patron_with_loans_or_debts_is_kept_whole_and_says_why(
    desk: ConnectorHarness, library: Library, owed: str
) -> None:
    desk.outcomes(account(), account("22600002", "zoe.ete"))
    before = dict(only(library, userid="lea.martin"))
    ref = before["patron_id"]
    getattr(library, owed).add(ref)
    kept = desk.erase(*desk.objects())
    assert {each: why.reason for each, why in kept.items()} == {str(ref): "koha_loans"}  # type: ignore[attr-defined]
    assert only(library) == before, "the other is gone"
    getattr(library, owed).clear()
    assert desk.erase(*desk.objects()) == {}
    assert not library.patrons


def test_an_erased_account_waits_for_its_loans_shut_and_otherwise_whole(
    desk: ConnectorHarness, library: Library
) -> None:
    desk.outcome(account())
    before = dict(only(library))
    library.loans.add(before["patron_id"])
    erased = account(version=2, stage=Stage.ERASED)
    assert desk.outcome(erased) == Waiting("koha_loans")
    kept = only(library)
    assert {name for name in before if kept[name] != before[name]} <= {"expiry_date", "updated_on"}
    library.loans.clear()
    assert isinstance(desk.outcome(erased), Done)
    assert not library.patrons


def test_a_protected_patron_is_kept_for_another_reason(desk: ConnectorHarness, library: Library) -> None:
    desk.outcome(account())
    library.edit(only(library)["patron_id"], protected=True)
    (refused,) = desk.erase(*desk.objects()).values()
    assert (refused.cause, refused.lasting) == ("koha_refused", True)
    assert only(library)["userid"] == "lea.martin"


def test_a_patron_who_is_gone_already_is_erased(desk: ConnectorHarness, library: Library) -> None:
    desk.outcome(account())
    found = desk.objects()
    library.patrons.clear()
    assert desk.erase(*found) == {}


# --- everybody ---------------------------------------------------------------------------------------


def many(library: Library, count: int) -> None:
    for number in range(count):
        library.add(surname=f"n{number}", cardnumber=f"c{number}", userid=f"u{number}")


@pytest.mark.parametrize("count", [0, 1, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE + 50])
def test_everybody_is_listed_once(desk: ConnectorHarness, library: Library, count: int) -> None:
    many(library, count)
    assert [each.student_number for each in desk.objects()] == [f"c{number}" for number in range(count)]


def test_who_is_deleted_or_changed_between_two_pages_hides_nobody(
    desk: ConnectorHarness, library: Library
) -> None:
    many(library, 2 * PAGE)
    listed = iter(desk.connector.objects())
    found = [next(listed).student_number]
    first, *_ = library.patrons
    del library.patrons[first]
    found += [each.student_number for each in listed]
    assert found == [f"c{number}" for number in range(2 * PAGE)]


def test_a_page_that_is_cut_is_not_taken_for_everybody(
    desk: ConnectorHarness, koha: KohaServer, library: Library
) -> None:
    many(library, 50)
    koha.cut = 10
    with pytest.raises(TargetDown, match="fewer"):
        desk.objects()


def test_a_list_that_is_cut_to_nothing_makes_no_second_patron(
    desk: ConnectorHarness, koha: KohaServer, library: Library
) -> None:
    desk.outcome(account())
    koha.cut = 0
    with pytest.raises(TargetDown, match="fewer"):
        desk.outcome(renamed(account()))
    assert only(library)["surname"] == "Martin"


# --- changes by hand ---------------------------------------------------------------------------------


def told(desk: ConnectorHarness, mark: str) -> tuple[str, list[str], bool]:
    changes = desk.connector.changes_since(mark)
    return changes.mark, [each.student_number for each in changes.objects], changes.gone


def test_a_hand_s_change_is_told_also_in_the_mark_s_own_second(
    desk: ConnectorHarness, library: Library
) -> None:
    at = datetime(2026, 12, 1, 8, 0, tzinfo=UTC)
    library.now = lambda: at
    desk.outcomes(account(), account("22600002", "zoe.ete"))
    mark, found, gone = told(desk, "")
    assert (found, gone) == ([], False)
    library.edit(only(library, userid="lea.martin")["patron_id"], email="autre@exemple.org")
    _, found, gone = told(desk, mark)
    assert ("22600001" in found, gone) == (True, False)
    library.now = lambda: at + timedelta(seconds=30)
    library.edit(only(library, userid="zoe.ete")["patron_id"], surname="ETE")
    mark, found, gone = told(desk, mark)
    assert ("22600002" in found, gone) == (True, False)
    assert told(desk, mark) == (mark, ["22600002"], False)


@pytest.mark.parametrize("login", ["lea.martin", "zoe.ete"])
def test_a_patron_that_a_hand_deleted_makes_all_be_compared(
    desk: ConnectorHarness, library: Library, login: str
) -> None:
    desk.outcomes(account(), account("22600002", "zoe.ete"))
    mark, *_ = told(desk, "")
    del library.patrons[only(library, userid=login)["patron_id"]]
    assert told(desk, mark)[2]


def test_a_koha_without_patrons_has_a_mark_too(desk: ConnectorHarness) -> None:
    mark, *_ = told(desk, "")
    assert told(desk, mark)[1:] == ([], False)
    desk.connector.probe()
