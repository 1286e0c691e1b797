"""The mailbox over its protocol: what is shown, written, sent once, waited for, shut and erased.

That nothing is done before it is read back is the kit's (test_handler.py) and the suite's
(tests/connectors/test_mailbox.py)."""

from __future__ import annotations

import hashlib
import json
import smtplib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from consumers.kit.connector import SLOW, TOO_SLOW, Change, Fields, Refused, TargetObject
from consumers.kit.deadline import Deadline
from consumers.mailbox.mailbox import MAILBOX_FULL, NOT_ENABLED, OWN_SCRIPT, SCRIPT, Mailbox
from pipeline.errors import Misconfigured, TargetDown, WriteForbidden
from pipeline.target import Closed, Dead, Done, HandlerOutcome, Preview, Retry, Task, Waiting
from schemas.account import Account, Hold, Stage
from sesame.testing.servers.mail_kit import (
    FULL,
    NO_USER,
    NOT_FOUND,
    PROBE,
    TEMPORARY,
    Asked,
    Box,
    MailboxHarness,
    account,
    desk_of,
    lines_of,
)
from sesame.testing.servers.narrowing import expect

ELSEWHERE = "hugo@exemple.org"
HUGO = account("1")
MAIL = HUGO.mail


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> MailboxHarness:
    desk = desk_of(monkeypatch)
    desk.enable(HUGO)
    return desk


def one(desk: MailboxHarness, wanted: Account = HUGO) -> HandlerOutcome:
    (outcome,) = desk.handle(wanted)
    return outcome


def redirected(to: str = ELSEWHERE) -> Account:
    return account("1", mail_redirect=to)


def bend(
    desk: MailboxHarness, name: str, change: Callable[[Any], Any], *, where: str = "", after: int = 0
) -> None:
    """From now on (or after so many answers), the server shows something else at this command."""
    left = [after]

    def bent(asked: Asked, answer: Any) -> Any:
        if asked.name != name or isinstance(answer, int) or where not in json.dumps(asked.arguments):
            return answer
        if left[0]:
            left[0] -= 1
            return answer
        return change(answer)

    desk.server.bends = bent


def differs(outcome: HandlerOutcome) -> str:
    assert isinstance(outcome, Retry), outcome
    assert outcome.cause == "read_back_differs"
    return outcome.message.rpartition(": ")[2]


def test_a_new_mailbox_gets_its_folders_and_one_message(desk: MailboxHarness) -> None:
    outcome = expect(Done, one(desk))
    assert outcome.changed
    assert desk.server.boxes[MAIL].folders == {"INBOX", "Sent", "Scolarite"}
    assert desk.server.boxes[MAIL].subscribed == {"Sent", "Scolarite"}
    assert [to for to, _ in desk.server.delivered] == [MAIL]
    assert desk.journal.kept["1"].state == "sent"
    again = expect(Done, one(desk))
    assert not again.changed
    assert again.digest == outcome.digest
    assert len(desk.server.delivered) == 1


def test_the_digest_is_of_what_was_shown(desk: MailboxHarness) -> None:
    outcome = expect(Done, one(desk, redirected()))
    fields = {
        "folders": ["Scolarite", "Sent"],
        "quota": [str(1 << 20)],
        "redirect": [desk.server.boxes[MAIL].scripts[SCRIPT]],
        "welcome": ["given"],
    }
    text = json.dumps(
        {"fields": fields, "open": None}, sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
    assert outcome.digest == f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


OTHERWISE: dict[str, tuple[str, str, str, Callable[[Any], Any]]] = {
    "a folder is not there": ("folders", "mailboxList", "", lambda rows: _without("Sent", rows)),
    "a folder is not subscribed": ("folders", "mailboxList", "true", lambda rows: _without("Sent", rows)),
    "another is not there": ("folders", "mailboxList", "", lambda rows: _without("Scolarite", rows)),
    "folders in another case": (
        "folders",
        "mailboxList",
        "",
        lambda rows: [{"mailbox": row["mailbox"].lower()} for row in rows],
    ),
    "no limit": ("quota", "quotaGet", "", lambda rows: [{**rows[0], "limit": "-"}]),
    "a limit of nothing": ("quota", "quotaGet", "", lambda rows: [{**rows[0], "limit": "0"}]),
    "a smaller limit": ("quota", "quotaGet", "", lambda rows: [{**rows[0], "limit": str((1 << 20) - 1)}]),
    "a larger limit": ("quota", "quotaGet", "", lambda rows: [{**rows[0], "limit": str((1 << 20) + 1)}]),
    "a smaller limit of another root": (
        "quota",
        "quotaGet",
        "",
        lambda rows: [*rows, {**rows[0], "root": "other", "limit": "5"}],
    ),
    "another script": ("redirect", "sieveGet", "", lambda rows: _replaced(rows, "hugo", "hugu")),
    "a script in another case": ("redirect", "sieveGet", "", lambda rows: _replaced(rows, "hugo", "Hugo")),
    "a script that is not active": (
        "redirect",
        "sieveList",
        "",
        lambda rows: [{**row, "active": ""} for row in rows],
    ),
    "no script": ("redirect", "sieveList", "", lambda _rows: []),
    "a script without a text": ("redirect", "sieveGet", "", lambda _rows: NOT_FOUND),
}


def _without(folder: str, rows: Any) -> Any:
    return [row for row in rows if row["mailbox"] != folder]


def _replaced(rows: Any, old: str, new: str) -> Any:
    return [{"sieve script": rows[0]["sieve script"].replace(old, new)}]


@pytest.mark.parametrize("what", OTHERWISE)
def test_what_is_shown_otherwise_is_a_difference_and_no_success(desk: MailboxHarness, what: str) -> None:
    field, command, where, change = OTHERWISE[what]
    assert isinstance(one(desk, redirected()), Done)
    bend(desk, command, change, where=where)
    assert desk.preview(redirected()).differs == (field,)
    assert differs(one(desk, redirected())) == field


def test_a_folder_that_is_subscribed_and_not_there_is_no_success(desk: MailboxHarness) -> None:
    one(desk)
    desk.server.bends = lambda asked, answer: (
        _without("Sent", answer)
        if asked.name == "mailboxList" and "subscriptions" not in asked.arguments
        else answer
    )
    assert differs(one(desk)) == "folders"


def test_equal_mailboxes_have_equal_digests_whosever_they_are(desk: MailboxHarness) -> None:
    other = account("2")
    desk.enable(other)
    outcomes = desk.handle(HUGO, other)
    assert all(isinstance(each, Done) for each in outcomes)
    assert len(set(outcomes)) == 1


def test_folders_of_the_student_s_own_are_no_difference(desk: MailboxHarness) -> None:
    one(desk)
    desk.server.boxes[MAIL].folders.add("Vacances")
    desk.server.boxes[MAIL].subscribed.add("Vacances")
    assert not expect(Done, one(desk)).changed


def test_a_hidden_folder_is_subscribed_and_not_made_again(desk: MailboxHarness) -> None:
    one(desk)
    desk.server.boxes[MAIL].subscribed.discard("Sent")
    assert expect(Done, one(desk)).changed
    assert [each.arguments["mailbox"] for each in desk.server.asked("mailboxSubscribe")] == [["Sent"]]
    assert len(desk.server.asked("mailboxCreate")) == 2


def test_a_quota_is_compared_in_kibibytes_rounded_up_and_only_if_it_is_wanted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    odd = desk_of(monkeypatch, folders=(), quota_bytes=(5 << 10) + 1)
    odd.server.boxes[MAIL] = Box(quota="6")
    assert isinstance(one(odd), Done)
    free = desk_of(monkeypatch, folders=(), quota_bytes=None)
    free.server.boxes[MAIL] = Box(quota="6")
    assert isinstance(one(free), Done)


# --- the redirection --------------------------------------------------------------------------------------


def test_a_redirection_is_installed_active_and_taken_away(desk: MailboxHarness) -> None:
    assert isinstance(one(desk, redirected()), Done)
    box = desk.server.boxes[MAIL]
    assert lines_of(box.scripts[SCRIPT]) == ['require ["copy"];', f'redirect :copy "{ELSEWHERE}";']
    assert box.active == SCRIPT
    assert expect(Done, one(desk)).changed
    assert box.scripts == {}
    assert not box.active


def test_a_script_that_is_still_shown_was_not_taken_away(desk: MailboxHarness) -> None:
    one(desk, redirected())
    box = desk.server.boxes[MAIL]
    before = dict(box.scripts)

    def undo(asked: Asked, answer: Any) -> Any:
        if asked.name == "sieveDelete":
            box.scripts, box.active = dict(before), SCRIPT
        return answer

    desk.server.bends = undo
    assert differs(one(desk)) == "redirect"


def test_an_inactive_script_of_ours_is_activated_and_an_unwanted_one_deleted(desk: MailboxHarness) -> None:
    one(desk, redirected())
    box = desk.server.boxes[MAIL]
    box.active = None
    assert isinstance(one(desk, redirected()), Done)
    assert desk.server.boxes[MAIL].active == SCRIPT
    box.active = None
    assert isinstance(one(desk), Done)
    assert box.scripts == {}
    assert not desk.server.asked("sieveDeactivate")


def test_a_student_s_own_script_is_left_and_the_redirection_waits(desk: MailboxHarness) -> None:
    one(desk)
    box = desk.server.boxes[MAIL]
    box.scripts["vacances"], box.active = "keep;", "vacances"
    outcome = expect(Waiting, one(desk, redirected()))
    assert (outcome.reason, outcome.pending) == (OWN_SCRIPT, ("redirect",))
    assert (box.scripts, box.active) == ({"vacances": "keep;"}, "vacances")
    box.subscribed.clear()
    bend(desk, "mailboxList", lambda _rows: [], where="subscriptions")
    assert differs(one(desk, redirected())) == "folders"
    assert isinstance(one(desk), Retry)


def test_an_address_that_cannot_be_used_leaves_the_redirection_and_all_else_is_done(
    desk: MailboxHarness,
) -> None:
    one(desk, redirected())
    desk.server.boxes[MAIL].folders.discard("Sent")
    outcome = expect(Dead, one(desk, redirected(MAIL)))
    assert outcome.cause == "redirect_invalid"
    assert "the mailbox itself" in outcome.message
    assert ELSEWHERE in desk.server.boxes[MAIL].scripts[SCRIPT]
    assert "Sent" in desk.server.boxes[MAIL].folders
    bend(desk, "mailboxList", lambda _rows: [])
    assert differs(one(desk, redirected(MAIL))) == "folders"


def test_an_address_that_cannot_be_used_leaves_a_script_that_is_not_active_as_it_is(
    desk: MailboxHarness,
) -> None:
    one(desk, redirected())
    box = desk.server.boxes[MAIL]
    box.active = None
    assert desk.preview(redirected(MAIL)) == Preview((), "redirect_invalid")
    assert expect(Dead, one(desk, redirected(MAIL))).cause == "redirect_invalid"
    assert (list(box.scripts), box.active) == ([SCRIPT], None)
    box.subscribed.clear()
    assert desk.preview(redirected(MAIL)) == Preview(("folders",), "redirect_invalid")


# --- the welcome message ----------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["HEADER"])
def test_a_message_that_is_not_seen_is_no_success_and_is_looked_for_everywhere(
    desk: MailboxHarness, where: str
) -> None:
    bend(desk, "fetch", lambda _rows: [], where=where)
    assert differs(one(desk)) == "welcome"
    looked = [each.arguments["query"][1] for each in desk.server.asked("fetch")]
    assert looked == ["INBOX", "*"]


def test_a_look_everywhere_that_fails_is_no_success(desk: MailboxHarness) -> None:
    def bend(asked: Asked, answer: Any) -> Any:
        if asked.name != "fetch":
            return answer
        return [] if asked.arguments["query"][1] == "INBOX" else 1

    desk.server.bends = bend
    outcome = expect(Retry, one(desk))
    assert (outcome.cause, outcome.message) == unread(1)


def test_a_message_that_a_script_filed_elsewhere_is_seen(desk: MailboxHarness) -> None:
    def file(asked: Asked, answer: Any) -> Any:
        if asked.name == "mailboxList" and desk.server.delivered:
            box = desk.server.boxes[MAIL]
            box.messages = [("Scolarite", uid, id_) for _, uid, id_ in box.messages]
        return answer

    desk.server.bends = file
    assert isinstance(one(desk), Done)


def test_a_message_that_the_server_took_and_never_shows_is_not_sent_again(desk: MailboxHarness) -> None:
    desk.server.bends = lambda _asked, answer: TEMPORARY if desk.server.delivered else answer
    with pytest.raises(TargetDown):
        one(desk)  # it cannot be read back
    assert desk.journal.kept["1"].state == "sent"
    desk.server.bends = lambda _asked, answer: answer
    desk.server.boxes[MAIL].messages.clear()
    outcomes = [one(desk), one(desk)]
    assert [type(outcome) for outcome in outcomes] == [Done, Done]
    assert len(desk.server.delivered) == 1


def test_an_older_message_is_not_taken_for_the_one_just_sent(desk: MailboxHarness) -> None:
    box = desk.server.boxes[MAIL]
    for n in range(3):
        box.receive(f"<{n}@x>")
    bend(desk, "fetch", lambda _rows: [], where="HEADER")
    assert differs(one(desk)) == "welcome"


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        ((552, b"5.2.2 full"), Waiting(MAILBOX_FULL, pending=("welcome",), recheck_after_s=3600.0)),
        (
            (451, b"4.3.0 later"),
            Retry("delivery_deferred", "the mail server defers the welcome message (LMTP 451 4.3.0)"),
        ),
        (
            (554, b"5.6.0 no"),
            Dead("welcome_refused", "the mail server refuses the welcome message (LMTP 554 5.6.0)"),
        ),
        (
            (550, b"5.1.1 who"),
            Retry("mailbox_not_enabled", "the mail server does not know this user any more"),
        ),
    ],
)
def test_a_message_that_is_not_taken_is_not_recorded_as_sent(
    desk: MailboxHarness, reply: tuple[int, bytes], outcome: HandlerOutcome
) -> None:
    desk.server.lmtp = lambda command: reply if command == "DATA" else None
    assert one(desk, redirected()) == outcome
    assert desk.journal.kept["1"].state == "intended"
    assert not desk.server.asked("sievePut")  # the message first, and only then the redirection
    desk.server.lmtp = lambda _command: None
    assert isinstance(one(desk), Done)
    assert len(desk.server.delivered) == 1


def test_an_answer_that_was_lost_behind_the_message_is_unknown_and_it_is_looked_for(
    desk: MailboxHarness,
) -> None:
    def lost(command: str) -> None:
        if command == "SAVED":
            raise smtplib.SMTPServerDisconnected("gone")

    desk.server.lmtp = lost
    outcome = expect(Retry, one(desk))
    assert (outcome.cause, outcome.unknown) == ("delivery_unknown", True)
    assert "SMTPServerDisconnected" in outcome.message
    assert desk.journal.kept["1"].state == "intended"
    desk.server.lmtp = lambda _command: None
    assert isinstance(one(desk), Done)
    assert desk.journal.kept["1"].state == "sent"
    assert len(desk.server.delivered) == 1


@pytest.mark.parametrize("command", ["MAIL", "RCPT"])
def test_a_break_before_the_message_is_known_to_have_sent_nothing(desk: MailboxHarness, command: str) -> None:
    def lost(each: str) -> None:
        if each == command:
            raise smtplib.SMTPServerDisconnected("gone")

    desk.server.lmtp = lost
    outcome = expect(Retry, one(desk))
    assert (outcome.cause, outcome.unknown) == ("delivery_deferred", False)


def test_a_message_that_may_have_come_and_gone_is_not_sent_again(desk: MailboxHarness) -> None:
    desk.server.lmtp = lambda command: (451, b"4.3.0 later") if command == "DATA" else None
    one(desk)
    desk.server.lmtp = lambda _command: None
    desk.server.boxes[MAIL].uidnext += 1  # something came, and is not there any more
    outcome = expect(Done, one(desk))
    assert outcome.note.endswith("not sent again")
    assert desk.server.delivered == []
    assert desk.journal.kept["1"].state == "undecided"
    assert expect(Done, one(desk)).note == outcome.note
    assert desk.preview(HUGO).differs == ()


def test_a_message_that_is_there_without_a_journal_is_recognised(desk: MailboxHarness) -> None:
    desk.server.boxes[MAIL].receive(desk.welcome.message_id("1"), folder="Scolarite")
    assert isinstance(one(desk), Done)
    assert desk.server.delivered == []
    assert desk.journal.kept["1"].state == "sent"


@pytest.mark.parametrize("state", ["sent", "waived", "undecided"])
def test_what_is_settled_is_neither_sent_nor_looked_for(desk: MailboxHarness, state: str) -> None:
    one(desk)
    desk.journal.kept["1"] = replace(desk.journal.kept["1"], state=state)
    desk.server.boxes[MAIL] = Box()
    desk.server.requests.clear()
    assert "welcome" not in desk.preview(HUGO).differs
    assert isinstance(one(desk), Done)
    assert len(desk.server.delivered) == 1
    assert not desk.server.asked("fetch")


def test_the_message_is_foreseen_where_it_would_be_sent(desk: MailboxHarness) -> None:
    assert desk.preview(HUGO).differs == ("folders", "welcome")
    assert desk.journal.kept == {}
    desk.server.boxes[MAIL].receive("<other@x>")
    assert desk.preview(HUGO).differs == ("folders", "welcome")
    desk.server.boxes[MAIL].receive(desk.welcome.message_id("1"))
    assert desk.preview(HUGO).differs == ("folders",)
    assert desk.server.delivered == []


def test_a_message_that_was_intended_and_provably_never_came_is_foreseen_again(desk: MailboxHarness) -> None:
    desk.server.lmtp = lambda command: (451, b"4.3.0 later") if command == "DATA" else None
    one(desk)
    assert desk.journal.kept["1"].state == "intended"
    assert desk.preview(HUGO).differs == ("welcome",)
    desk.server.boxes[MAIL].receive("<other@x>")
    assert desk.preview(HUGO).differs == ("welcome",)
    desk.server.boxes[MAIL].receive(desk.welcome.message_id("1"))
    assert desk.preview(HUGO).differs == ()


def test_a_full_mailbox_waits_for_what_was_not_delivered(desk: MailboxHarness) -> None:
    desk.server.bends = lambda asked, answer: FULL if asked.name == "mailboxCreate" else answer
    outcome = one(desk)
    assert outcome == Waiting(MAILBOX_FULL, pending=("welcome",), recheck_after_s=3600.0)
    desk.server.bends = lambda _asked, answer: answer
    one(desk)
    desk.server.bends = lambda asked, answer: FULL if asked.name == "sievePut" else answer
    assert one(desk, redirected()) == Waiting(MAILBOX_FULL, pending=(), recheck_after_s=3600.0)


def test_a_message_that_was_taken_is_recorded_though_the_rest_failed(desk: MailboxHarness) -> None:
    desk.server.bends = lambda asked, answer: TEMPORARY if asked.name == "sievePut" else answer
    with pytest.raises(TargetDown):
        one(desk, redirected())
    other = account("2")
    desk.enable(other)
    desk.server.bends = lambda asked, answer: (
        FULL if asked.name == "sievePut" and asked.arguments["user"] == other.mail else answer
    )
    outcomes = desk.handle(account("2", mail_redirect=ELSEWHERE))
    assert outcomes == [Waiting(MAILBOX_FULL, pending=(), recheck_after_s=3600.0)]
    assert desk.journal.kept["2"].state == "sent"


@pytest.mark.parametrize(
    ("code", "cause"), [(65, "redirect_refused"), (1, "mailbox_busy"), (NO_USER, "mailbox_not_enabled")]
)
def test_a_message_that_was_taken_is_recorded_whatever_the_script_met(
    desk: MailboxHarness, code: int, cause: str
) -> None:
    desk.server.bends = lambda asked, answer: code if asked.name == "sievePut" else answer
    outcome = one(desk, redirected())
    assert isinstance(outcome, Dead | Retry)
    assert outcome.cause == cause
    assert desk.journal.kept["1"].state == "sent"
    desk.server.bends = lambda _asked, answer: answer
    assert isinstance(one(desk, redirected()), Done)
    assert len(desk.server.delivered) == 1


def test_the_intent_names_the_message_and_the_inbox_of_that_moment(desk: MailboxHarness) -> None:
    box = desk.server.boxes[MAIL]
    box.uidvalidity = 42
    for n in range(3):
        box.receive(f"<{n}@x>")
    desk.server.lmtp = lambda command: (451, b"4.3.0 later") if command == "DATA" else None
    one(desk)
    kept = desk.journal.kept["1"]
    assert (kept.message_id, kept.uidvalidity, kept.uidnext) == (desk.welcome.message_id("1"), 42, 4)
    one(desk)
    assert [each.arguments["query"][-1] for each in desk.server.asked("fetch")][-1] == "4:*"
    box.uidvalidity = 43  # another inbox: nothing can be said of the first one
    assert "welcome" not in desk.preview(HUGO).differs
    assert expect(Done, one(desk)).note


def test_an_intent_that_somebody_else_recorded_meanwhile_is_left_to_them(desk: MailboxHarness) -> None:
    intend = desk.journal.intend

    def overtaken(intended: Any) -> Any:
        intend(intended)
        return intend(intended)

    desk.journal.intend = overtaken  # type: ignore[method-assign]
    assert differs(one(desk)) == "welcome"
    assert desk.server.delivered == []
    assert isinstance(one(desk), Done)  # it was looked for, and never came
    assert len(desk.server.delivered) == 1


def test_a_server_that_is_only_observed_leaves_the_journal_as_it_is(desk: MailboxHarness) -> None:
    desk.server.boxes[MAIL].receive(desk.welcome.message_id("1"))
    assert desk.observer().handler().preview([HUGO])["1"].differs == ("folders",)
    assert desk.journal.kept == {}


def test_who_is_lost_before_the_message_is_decided_is_tried_again(desk: MailboxHarness) -> None:
    desk.server.boxes[MAIL].receive("<other@x>")
    desk.server.bends = lambda asked, answer: NO_USER if asked.name == "fetch" else answer
    outcome = expect(Retry, one(desk))
    assert (outcome.cause, outcome.message) == unread(NO_USER)
    assert desk.server.delivered == []


def test_an_address_that_no_message_can_bear_is_a_dead_letter_of_that_student_alone(
    desk: MailboxHarness,
) -> None:
    odd = account("2", mail="hugo roux@univ-exemple.fr")
    desk.enable(odd)
    assert desk.preview(odd).obstacle == "mail_address_invalid"
    assert desk.preview(HUGO).obstacle == ""
    refused, fine = desk.handle(odd, HUGO)
    assert isinstance(refused, Dead)
    assert refused.cause == "mail_address_invalid"
    assert "cannot stand in a header" in refused.message
    assert isinstance(fine, Done)
    assert desk.server.boxes[odd.mail].folders == {"INBOX"}  # nothing is written for them
    desk.server.boxes[odd.mail].receive(desk.welcome.message_id("2"))
    assert desk.preview(odd).obstacle == ""


def test_one_who_needs_no_message_hides_nobody_who_does(desk: MailboxHarness) -> None:
    one(desk)
    desk.server.boxes[MAIL].folders.discard("Sent")
    others = [account(str(n)) for n in (2, 3)]
    desk.enable(*others)
    outcomes = desk.handle(HUGO, *others)
    assert all(isinstance(outcome, Done) for outcome in outcomes)
    assert [to for to, _ in desk.server.delivered] == [MAIL, *(each.mail for each in others)]


def test_messages_that_there_was_no_time_for_are_sent_another_time(desk: MailboxHarness) -> None:
    clock = [0.0]
    deadline = Deadline.after(20.0, lambda: clock[0])

    def takes_long(command: str) -> None:
        clock[0] = 20.0 if command == "SAVED" else clock[0]

    students = [account(number) for number in "1234"]
    desk.enable(*students)
    changes = changes_of(desk, *students, fields={"welcome": ("given",)})
    changes[0] = replace(changes[0], fields={"welcome": ("given",), "redirect": ("keep;",)})
    changes[3] = replace(changes[3], fields={"folders": ("A",)})
    del desk.server.boxes[students[3].mail]
    desk.server.lmtp = takes_long
    assert desk.connector.apply(changes, deadline) == {
        **dict.fromkeys("123", Refused(SLOW, TOO_SLOW)),
        "4": Refused("mailbox_not_enabled", "the mail server does not know this user any more"),
    }
    assert [to for to, _ in desk.server.delivered] == [MAIL]
    assert {number: each.state for number, each in desk.journal.kept.items()} == {
        "1": "sent",
        "2": "intended",
        "3": "intended",
    }


def test_a_delivery_without_an_answer_stays_unknown_though_the_scripts_meet_no_server(
    desk: MailboxHarness,
) -> None:
    other = account("2", mail_redirect=ELSEWHERE)
    desk.enable(other)
    saved: list[str] = []

    def lost(command: str) -> None:
        saved.append(command)
        if command == "SAVED" and saved.count("SAVED") == 1:
            raise smtplib.SMTPServerDisconnected("gone")

    def away(asked: Asked, answer: Any) -> Any:
        if asked.name == "sievePut":
            raise httpx.ConnectError("refused")
        return answer

    desk.server.lmtp, desk.server.bends = lost, away
    with pytest.raises(TargetDown) as down:
        desk.handle(HUGO, other)
    assert down.value.unknown


def changes_of(desk: MailboxHarness, *students: Account, fields: Fields) -> list[Change]:
    seen = desk.connector.read(students, desk.soon())
    return [Change(each, seen[each.student_number][0], fields) for each in students]  # type: ignore[index]


def test_a_write_without_an_answer_is_unknown_and_a_read_is_not(desk: MailboxHarness) -> None:
    def lost(name: str) -> None:
        def bent(asked: Asked, answer: Any) -> Any:
            if asked.name == name:
                raise httpx.ReadTimeout("late")
            return answer

        desk.server.bends = bent

    for name, unknown in (("mailboxCreate", True), ("sieveList", False)):
        lost(name)
        with pytest.raises(TargetDown) as down:
            one(desk)
        assert down.value.unknown is unknown


@pytest.mark.parametrize(("lost", "unknown"), [(True, True), (False, False)])
def test_an_outage_at_the_read_back_leaves_in_doubt_what_was_in_doubt(
    desk: MailboxHarness, *, lost: bool, unknown: bool
) -> None:
    other = account("2")
    desk.enable(other)
    saved: list[str] = []

    def second(command: str) -> tuple[int, bytes] | None:
        saved.append(command)
        if saved.count("DATA") < 2 or command != ("SAVED" if lost else "DATA"):
            return None
        if lost:
            raise smtplib.SMTPServerDisconnected("gone")
        return 451, b"4.3.0 later"

    desk.server.lmtp = second
    desk.server.bends = lambda _asked, answer: TEMPORARY if saved.count("DATA") == 2 else answer
    with pytest.raises(TargetDown, match="directory is away") as down:
        desk.handle(HUGO, other)
    assert down.value.unknown is unknown


def test_a_new_mailbox_costs_few_commands_and_one_that_is_as_it_should_be_five(
    desk: MailboxHarness,
) -> None:
    def asked_by(wanted: Account) -> list[list[str]]:
        desk.server.requests.clear()
        one(desk, wanted)
        return [[each.name for each in request] for request in desk.server.requests]

    least = ["mailboxStatus"]
    before = ["mailboxList", "sieveList", "quotaGet", "mailboxStatus", "mailboxList"]
    after = ["mailboxList", "sieveList", "quotaGet", "fetch"]
    folders, plain = ["mailboxCreate"] * 2, account("2")
    desk.enable(plain)
    assert asked_by(plain) == [least, folders, after]
    assert asked_by(plain) == [before]
    new = account("1", mail_redirect=ELSEWHERE)
    assert asked_by(new) == [least, before, folders, ["sievePut"], after, ["sieveGet"]]
    assert asked_by(new) == [before, ["sieveGet"]]
    assert asked_by(HUGO) == [before, ["sieveGet"], ["sieveDeactivate", "sieveDelete"], before]
    desk.server.boxes[MAIL].subscribed.clear()
    assert asked_by(HUGO) == [before, ["mailboxSubscribe"] * 2, before]
    desk.server.bends = lambda asked, answer: 1 if asked.name == "sievePut" else answer
    assert asked_by(new) == [before, ["sievePut"], ["user"]]  # the probe; what failed is not read back


def test_a_request_may_take_a_connection_and_twice_the_time_of_an_answer(desk: MailboxHarness) -> None:
    assert desk.connector.settings.verb_s_max == 5.0 + 2 * 10.0
    assert desk.handler.call_s_max == 10.0 + 2 * desk.connector.settings.verb_s_max
    described = desk.handler.describe()
    assert (described.name, described.system, desk.handler.batch_size) == (
        "mailbox",
        "Dovecot https://127.0.0.1:8443/doveadm/v1",
        10,
    )
    assert described.owns == ("folders", "quota", "redirect", "welcome")


def test_what_is_the_student_s_own_is_no_part_of_the_digest(desk: MailboxHarness) -> None:
    before = one(desk)
    box = desk.server.boxes[MAIL]
    box.folders |= {"Vacances", "Caché"}
    box.subscribed |= {"Vacances", "INBOX"}
    box.receive("<other@x>")
    box.scripts["vacances"] = "keep;"
    after = one(desk)
    assert isinstance(before, Done)
    assert isinstance(after, Done)
    assert after.digest == before.digest
    assert not after.changed


def test_a_script_that_went_away_meanwhile_is_gone(desk: MailboxHarness) -> None:
    one(desk, redirected())

    def meanwhile(asked: Asked, answer: Any) -> Any:
        return NOT_FOUND if asked.name == "sieveDelete" else answer

    desk.server.bends = meanwhile
    assert isinstance(one(desk), Done)


def test_a_script_of_the_student_s_own_that_was_activated_meanwhile_makes_the_redirection_wait(
    desk: MailboxHarness,
) -> None:
    def meanwhile(asked: Asked, answer: Any) -> Any:
        if asked.name == "sievePut":
            box = desk.server.boxes[MAIL]
            box.scripts["vacances"], box.active = "keep;", "vacances"
        return answer

    desk.server.bends = meanwhile
    assert one(desk, redirected()) == Waiting(OWN_SCRIPT, pending=("redirect",), recheck_after_s=3600.0)


# --- a new mailbox, of which little is read before ----------------------------------------------------


def test_a_folder_that_is_there_and_hidden_is_shown_in_the_second_turn(desk: MailboxHarness) -> None:
    desk.server.boxes[MAIL].folders |= {"Sent"}
    assert differs(one(desk)) == "folders"
    assert expect(Done, one(desk)).changed
    assert desk.server.boxes[MAIL].subscribed == {"Sent", "Scolarite"}
    assert len(desk.server.delivered) == 1


def test_a_redirection_that_nobody_asked_for_any_more_is_ended_in_the_second_turn(
    desk: MailboxHarness,
) -> None:
    box = desk.server.boxes[MAIL]
    box.scripts, box.active = {SCRIPT: "keep;", "tri": "keep;"}, SCRIPT
    assert differs(one(desk)) == "redirect"
    assert expect(Done, one(desk)).changed
    assert box.scripts == {"tri": "keep;"}
    assert desk.server.boxes[MAIL].active is None


def test_another_quota_is_foreseen_and_told_once_the_mailbox_is_read_back(desk: MailboxHarness) -> None:
    desk.server.boxes[MAIL].quota = "1000"
    assert desk.preview(HUGO).obstacle == "read_back_differs"
    assert differs(one(desk)) == "quota"


def test_a_message_that_the_student_s_own_script_files_elsewhere_is_found_there(desk: MailboxHarness) -> None:
    class Filing(Box):
        def receive(self, message_id: str, folder: str = "Tri") -> None:
            super().receive(message_id, folder)

    desk.server.boxes[MAIL] = Filing(scripts={"tri": "keep;"}, active="tri")
    assert isinstance(one(desk), Done)
    assert isinstance(one(desk), Done)
    assert len(desk.server.delivered) == 1


def test_an_inbox_that_was_emptied_is_no_new_one(desk: MailboxHarness) -> None:
    box = desk.server.boxes[MAIL]
    box.receive(desk.welcome.message_id("1"), "Archives")
    assert isinstance(one(desk), Done)
    assert desk.server.delivered == []


# --- who is not there -------------------------------------------------------------------------------------


def test_who_is_unknown_to_the_server_is_tried_again(desk: MailboxHarness) -> None:
    del desk.server.boxes[MAIL]
    outcome = expect(Retry, one(desk))
    assert outcome.cause == "mailbox_not_enabled"
    assert "sesameMailEnabled" in outcome.message
    assert desk.journal.kept == {}


def unread(code: int) -> tuple[str, str]:
    """Cause and message of one whose mailbox was not read."""
    if code == NO_USER:
        return "mailbox_not_enabled", NOT_ENABLED.message
    return "mailbox_busy", f"the mailbox could not be read now (doveadm: {code})"


@pytest.mark.parametrize("code", [NO_USER, 1])
@pytest.mark.parametrize("name", ["mailboxList", "quotaGet", "mailboxStatus", "sieveList"])
def test_a_mailbox_that_cannot_be_read_is_no_empty_one(desk: MailboxHarness, name: str, code: int) -> None:
    desk.server.bends = lambda asked, answer: code if asked.name == name else answer
    outcome = expect(Retry, one(desk, redirected()))
    assert outcome.cause == unread(code)[0]
    assert code == NO_USER or outcome.message == unread(code)[1]
    assert desk.server.delivered == []
    assert not desk.server.asked("mailboxCreate")


@pytest.mark.parametrize("name", ["mailboxList", "fetch", "sieveList", "sieveGet"])
@pytest.mark.parametrize("code", [NO_USER, 1])
def test_a_read_back_that_fails_is_no_success(desk: MailboxHarness, name: str, code: int) -> None:
    desk.server.bends = lambda asked, answer: code if asked.name == name and desk.server.delivered else answer
    outcome = expect(Retry, one(desk, redirected()))
    assert (outcome.cause, outcome.message) == unread(code)


@pytest.mark.parametrize("name", ["sieveGet", "fetch"])
def test_a_second_look_that_fails_is_no_success(desk: MailboxHarness, name: str) -> None:
    one(desk, redirected())
    if name == "fetch":
        desk.journal.kept.clear()
        desk.server.boxes[MAIL].messages.clear()
    desk.server.bends = lambda asked, answer: 1 if asked.name == name else answer
    outcome = expect(Retry, one(desk, redirected()))
    assert (outcome.cause, outcome.message) == unread(1)


def test_a_server_whose_directory_is_away_is_down(desk: MailboxHarness) -> None:
    desk.server.bends = lambda _asked, _answer: TEMPORARY
    for act in (
        lambda: one(desk),
        lambda: desk.preview(HUGO),
        desk.handler.probe,
        lambda: [*desk.connector.objects()],
        lambda: desk.connector.erase([TargetObject(ref=MAIL)], desk.soon()),
    ):
        with pytest.raises(TargetDown, match="directory is away") as down:
            act()
        assert down.value.unknown is False
    desk.server.bends = lambda asked, answer: TEMPORARY if asked.name == "mailboxCreate" else answer
    with pytest.raises(TargetDown, match="directory is away") as down:
        one(desk)
    assert down.value.unknown


def test_one_mailbox_that_is_busy_is_that_student_s(desk: MailboxHarness) -> None:
    other = account("2")
    desk.enable(other)
    desk.server.bends = lambda asked, answer: (
        TEMPORARY if asked.arguments.get("user") == other.mail else answer
    )
    fine, busy = desk.handle(HUGO, other)
    assert isinstance(fine, Done)
    assert isinstance(busy, Retry)
    assert busy.cause == "mailbox_busy"


@pytest.mark.parametrize(
    ("name", "code", "cause", "about"),
    [
        ("mailboxCreate", 64, "folder_name_refused", "mailbox.folders"),
        ("sievePut", 65, "redirect_refused", "sieve"),
    ],
)
def test_a_command_that_is_refused_is_the_student_s_dead_letter(
    desk: MailboxHarness, name: str, code: int, cause: str, about: str
) -> None:
    desk.server.bends = lambda asked, answer: code if asked.name == name else answer
    outcome = expect(Dead, one(desk, redirected()))
    assert outcome.cause == cause
    assert about in outcome.message


def test_one_folder_that_fails_is_not_hidden_by_the_next(desk: MailboxHarness) -> None:
    desk.server.bends = lambda asked, answer: (
        1 if asked.name == "mailboxCreate" and asked.arguments["mailbox"] == ["Sent"] else answer
    )
    assert one(desk) == Retry("mailbox_busy", "mailboxCreate did not succeed (doveadm: 1)")
    assert desk.server.delivered == []


def test_a_folder_that_exists_already_is_for_the_read_back_to_confirm(desk: MailboxHarness) -> None:
    bend(desk, "mailboxList", lambda _rows: [], after=0)
    desk.server.boxes[MAIL].folders |= {"Sent", "Scolarite"}
    assert differs(one(desk)) == "folders"


# --- closed -----------------------------------------------------------------------------------------------

SHUT = account("1", holds=frozenset({Hold.SUSPENDED}))


def test_a_closed_account_is_done_when_the_server_finds_nobody(desk: MailboxHarness) -> None:
    outcome = expect(Retry, one(desk, SHUT))
    assert outcome.cause == "directory_behind"
    assert "shut" in outcome.message
    assert desk.server.kicked == [MAIL]
    del desk.server.boxes[MAIL]
    closed = expect(Done, one(desk, SHUT))
    assert closed.changed is False
    assert closed.digest == f"sha256:{hashlib.sha256(b'null').hexdigest()}"
    assert desk.server.kicked == [MAIL, MAIL]


def test_shutting_only_reads_nothing_and_open_accounts_are_left(desk: MailboxHarness) -> None:
    other = account("2")
    desk.enable(other)
    outcomes = desk.handler.handle([Task(HUGO, close_only=True), Task(other)])
    assert outcomes["1"] == Closed()
    assert isinstance(outcomes["2"], Done)
    assert desk.server.kicked == [MAIL]
    assert not any(each.arguments.get("user") == MAIL for each in desk.server.asked())
    assert desk.handler.handle([Task(HUGO, close_only=True)]) == {"1": Closed()}


def test_an_address_with_a_mask_in_it_ends_nobody_else_s_sessions(desk: MailboxHarness) -> None:
    mails = ("*@univ-exemple.fr", "hug?@univ-exemple.fr", MAIL, "X@univ-exemple.fr")
    shut = [Change(account(str(n), mail=mail), None, {}, open=False) for n, mail in enumerate(mails)]
    assert desk.connector.close(shut, desk.soon()) == {}
    assert desk.server.kicked == [MAIL, "X@univ-exemple.fr"]


# --- everybody, and the probe -----------------------------------------------------------------------------


def test_a_list_of_users_that_cannot_be_had_is_no_empty_one(desk: MailboxHarness) -> None:
    for code in (TEMPORARY, 1):
        desk.server.bends = lambda _asked, _answer, code=code: code  # type: ignore[misc]
        with pytest.raises(TargetDown, match="directory is away") as down:
            list(desk.connector.objects())
        assert down.value.unknown is False
    desk.server.bends = lambda _asked, _answer: 65
    with pytest.raises(Misconfigured, match="cannot list its users") as refused:
        list(desk.connector.objects())
    assert "size limit" in refused.value.remedy
    desk.server.bends = lambda _asked, _answer: NO_USER
    assert list(desk.connector.objects()) == []


def test_the_probe_looks_its_own_user_up(desk: MailboxHarness) -> None:
    desk.handler.probe()
    assert desk.server.asked() == [Asked("user", {"userMask": [PROBE]})]
    del desk.server.boxes[PROBE]
    with pytest.raises(Misconfigured, match="service account") as refused:
        desk.handler.probe()
    assert "mailbox.probe_user" in refused.value.remedy


def test_what_is_read_is_what_is_there(desk: MailboxHarness) -> None:
    box, ours = desk.server.boxes[MAIL], desk.welcome.message_id("1")
    box.scripts["vacances"], box.active = "keep;", "vacances"
    for each in ("<0@x>", ours, "<2@x>"):
        box.receive(each)
    box.receive(ours, folder="Sent")
    box.used_kib = 12
    found = Mailbox(
        ref=MAIL,
        folders=frozenset({"INBOX"}),
        subscribed=frozenset(),
        quota_kib=1 << 20,
        used_kib=12,
        messages=3,
        scripts=frozenset({"vacances"}),
        active_script="vacances",
        uidvalidity=7,
        uidnext=5,
        copies=2,
        uids=(1, 2, 3),
    )
    assert desk.connector.look(HUGO) == found
    desk.server.bends = lambda asked, answer: [] if asked.name == "quotaGet" else answer
    assert desk.connector.look(HUGO) == replace(found, quota_kib=None, used_kib=0)
    assert desk.connector.look(account("2")) == NOT_ENABLED


def test_an_erased_mailbox_holds_nothing_and_the_others_all_they_had(desk: MailboxHarness) -> None:
    other = account("2")
    desk.enable(other)
    desk.handle(redirected(), other)
    box, kept = desk.server.boxes[MAIL], desk.server.boxes[other.mail]
    box.folders |= {"A", "A/B"}
    box.receive("<2@x>", folder="A/B")
    before = (set(kept.folders), list(kept.messages))
    [found] = desk.connector.read([redirected()], Deadline.after(5.0))["1"]  # type: ignore[misc]
    assert desk.connector.erase([found], Deadline.after(5.0)) == {}
    assert (box.folders, box.subscribed, box.messages) == ({"INBOX"}, set(), [])
    assert (box.scripts, box.active) == ({}, None)
    deleted = [each.arguments["mailbox"][0] for each in desk.server.asked("mailboxDelete")]
    assert deleted.index("A/B") < deleted.index("A")
    assert (kept.folders, kept.messages) == before
    assert desk.connector.erase([found], Deadline.after(5.0)) == {}  # it may be repeated
    del desk.server.boxes[MAIL]
    assert desk.connector.erase([found], Deadline.after(5.0)) == {}  # there is none


def test_who_is_erased_has_an_empty_mailbox_for_as_long_as_the_server_finds_its_user(
    desk: MailboxHarness,
) -> None:
    one(desk)
    desk.server.boxes[MAIL].receive("<2@x>")
    erased = HUGO.model_copy(update={"stage": Stage.EXPIRED, "stages": {"mailbox": Stage.ERASED}})
    first, again = (one(desk, erased.at("mailbox")) for _ in range(2))
    assert isinstance(first, Done)
    assert isinstance(again, Done)
    assert (first.changed, again.changed) == (True, False)
    assert desk.server.boxes[MAIL].messages == []
    del desk.server.boxes[MAIL]
    assert one(desk, erased.at("mailbox")) == Waiting("mailbox_hidden", (), 3600.0)
    assert isinstance(one(desk, HUGO.model_copy(update={"stage": Stage.ERASED})), Done)


@pytest.mark.parametrize("left", ["folder", "subscription", "message", "script"])
def test_a_mailbox_that_holds_anything_is_not_erased(desk: MailboxHarness, left: str) -> None:
    desk.enable(HUGO)
    box = desk.server.boxes[MAIL]
    if left == "folder":
        box.folders.add("A")
    elif left == "subscription":
        box.subscribed.add("A")
    elif left == "message":
        box.receive("<2@x>")
    else:
        box.scripts["vacances"] = "keep;"
    desk.connector.erase = lambda *_: {}  # type: ignore[method-assign]  # says so, and does nothing
    outcome = expect(Retry, one(desk, HUGO.model_copy(update={"stage": Stage.ERASED})))
    assert outcome.cause == "read_back_differs"


@pytest.mark.parametrize(("name", "code"), [("mailboxDelete", 1), ("expunge", 1), ("mailboxList", 1)])
def test_what_could_not_be_erased_is_told(desk: MailboxHarness, name: str, code: int) -> None:
    one(desk)
    [found] = desk.connector.read([HUGO], Deadline.after(5.0))["1"]  # type: ignore[misc]
    desk.server.bends = lambda asked, answer: code if asked.name == name else answer
    refused = desk.connector.erase([found], Deadline.after(5.0))
    assert [each.cause for each in refused.values()] == ["mailbox_busy"]
    assert list(refused) == [MAIL]


def test_everybody_is_listed_by_address_and_no_mailbox_is_opened(desk: MailboxHarness) -> None:
    desk.enable(account("2", mail="Hugo.Roux2@univ-exemple.fr"))
    found = list(desk.connector.objects())
    assert [(each.ref, each.student_number, each.names) for each in found] == [
        (mail, "", (("mail", mail),)) for mail in (MAIL, "hugo.roux2@univ-exemple.fr")
    ]
    assert [each.name for each in desk.server.asked()] == ["user"]


def test_a_server_that_is_only_observed_is_sent_no_command_that_writes(desk: MailboxHarness) -> None:
    observed = desk.observer()
    observed.probe()
    for fields in (
        {"folders": ("Sent",)},
        {"welcome": ("given",)},
        {"redirect": ("keep;",)},
        {"redirect": ()},
    ):
        changes = changes_of(desk, HUGO, fields=fields)
        for verb in (observed.apply, observed.close):
            with pytest.raises(WriteForbidden):
                verb(changes, desk.soon())
    with pytest.raises(WriteForbidden):
        observed.erase([TargetObject(ref=MAIL)], desk.soon())
    observed.look(HUGO)
    assert {each.name for each in desk.server.asked()} == {
        *("user", "mailboxList", "quotaGet", "mailboxStatus", "sieveList", "fetch", "aclGet")
    }
    assert desk.server.delivered == []


# --- time -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("intended", [False, True], ids=["by reading", "by recording the intent"])
def test_when_the_time_is_used_up_nothing_is_written(
    monkeypatch: pytest.MonkeyPatch, *, intended: bool
) -> None:
    clock = [0.0]
    desk = desk_of(monkeypatch, monotonic=lambda: clock[0])
    desk.enable(HUGO)
    intend = desk.journal.intend

    def slow(*args: Any) -> Any:
        clock[0] = 10.0
        return intend(*args)

    def late(rows: Any) -> Any:
        clock[0] = 9.96  # too little is left for another request
        return rows

    if intended:
        monkeypatch.setattr(desk.journal, "intend", slow)
    else:
        bend(desk, "mailboxStatus", late)
    outcome = expect(Retry, one(desk))
    assert (outcome.cause, outcome.unknown) == ("target_slow", False)
    assert "time was used up" in outcome.message
    assert ("1" in desk.journal.kept) is intended
    assert desk.server.delivered == []
    assert not desk.server.asked("mailboxCreate")
    clock[0] = 100.0
    monkeypatch.setattr(desk.journal, "intend", intend)
    desk.server.bends = lambda _asked, answer: answer
    assert isinstance(one(desk), Done)


def test_a_kept_connection_is_used_again_and_a_broken_one_replaced(desk: MailboxHarness) -> None:
    others = [account(str(n)) for n in range(2, 5)]
    desk.enable(*others)
    desk.handle(HUGO, others[0])
    assert desk.server.connections == 1
    broken = [True]

    def lost(command: str) -> None:
        if command == "RSET" and broken.pop():
            broken.append(False)
            raise smtplib.SMTPServerDisconnected("restarted")

    desk.server.lmtp = lost
    desk.handle(others[1])
    assert desk.server.connections == 2
    assert len(desk.server.delivered) == 3
