"""The welcome message and the redirection's script: what they say, and what they cannot be made to say."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from email import message_from_bytes, policy
from email.headerregistry import Address
from email.message import EmailMessage
from typing import Any

import pytest

from consumers.mailbox.mailbox import RedirectInvalid, script_for
from pipeline.letters import AddressUnusable
from schemas.account import Account, Membership, Person, Requirement
from sesame.testing.servers.accounts import account_of
from sesame.testing.servers.mailbox_kit import WELCOME


def account(person: dict[str, Any] | None = None, **fields: Any) -> Account:
    named = Person(**({"birth_name": "Lefèvre-Noël", "given_name": "Zoé"} | (person or {})))
    return account_of("22600123", "zoe.lefevre", person=named, **fields)


def read(raw: bytes) -> EmailMessage:
    return message_from_bytes(raw, _class=EmailMessage, policy=policy.default)


def body(raw: bytes, kind: str = "plain") -> str:
    part = read(raw).get_body((kind,))
    assert part is not None
    return str(part.get_content())


def test_the_message_greets_in_french_with_the_students_own_words() -> None:
    raw = WELCOME.render(account())
    message = read(raw)
    assert message["To"].addresses[0].display_name == "Zoé Lefèvre-Noël"
    assert message["To"].addresses[0].addr_spec == "zoe.lefevre@etu.univ-exemple.fr"
    assert message["From"] == "Université d'exemple <ne-pas-repondre@univ-exemple.fr>"
    assert message["Subject"] == "Bienvenue : votre compte universitaire est ouvert"
    assert message["Date"].datetime == WELCOME.clock()
    assert message["Content-Language"] == "fr"
    assert message["Auto-Submitted"] == "auto-generated"
    text = body(raw)
    for said in ("Bonjour Zoé,", "zoe.lefevre@etu.univ-exemple.fr", "\r\n\r\nzoe.lefevre\r\n\r\n"):
        assert said in text
    assert "inscription pédagogique" not in text


def test_the_name_that_the_student_prefers_is_the_one_that_is_used() -> None:
    assert "Bonjour Camille," in body(WELCOME.render(account({"preferred_given_name": "Camille"})))


@pytest.mark.parametrize(
    ("language", "expected"), [("fr", "fr"), ("en", "en"), ("en-US", "en"), ("de", "fr")]
)
def test_the_language_is_the_students_or_french(language: str, expected: str) -> None:
    assert read(WELCOME.render(account({"language": language})))["Content-Language"] == expected


@pytest.mark.parametrize(
    ("language", "colon", "subject", "labels"),
    [
        (
            "fr",
            "Votre identifiant\u00a0:",
            "Bienvenue : votre compte",
            ("La messagerie", "Moodle", "Mon compte"),
        ),
        ("en", "Your login:", "Welcome: your university account", ("Mail", "Moodle courses", "My account")),
    ],
)
def test_each_language_has_its_subject_its_blanks_and_its_buttons(
    language: str, colon: str, subject: str, labels: tuple[str, ...]
) -> None:
    raw = WELCOME.render(account({"language": language}))
    html = body(raw, "html")
    assert read(raw)["Subject"].startswith(subject)
    assert f'<html lang="{language}">' in html
    assert f"<title>{subject}" in html
    shown = re.sub(r"<style.*?</style>|<[^>]*>", "\n", html.partition("<body")[2], flags=re.DOTALL)
    assert colon in body(raw)
    first = next(line for line in shown.splitlines()[1:] if line)
    assert first == f"{colon} zoe.lefevre", "a list of messages shows the login"
    addresses = ("https://webmail.univ-exemple.fr/", "https://moodle.univ-exemple.fr/")
    wanted = list(zip(labels, (*addresses, "https://compte.univ-exemple.fr/"), strict=True))
    assert re.findall(r'<a href="([^"]*)" style="display:block[^>]*>([^<]*)</a>', html) == [
        (url, label) for label, url in wanted
    ]
    for label, url in wanted:
        assert f"\r\n\r\n{label}\r\n{url}\r\n\r\n" in body(raw)
    assert html.count("<p ") == html.count("</p>")


def test_both_renderings_survive_any_server_and_are_parted_by_what_is_the_message_s_own() -> None:
    message = read(WELCOME.render(account()))
    assert message.get_content_type() == "multipart/alternative"
    parts = list(message.iter_parts())
    assert [part.get_content_type() for part in parts] == ["text/plain", "text/html"]
    assert [part["Content-Transfer-Encoding"] for part in parts] == ["quoted-printable"] * 2
    digest = hashlib.sha256(b"welcome:22600123").hexdigest()[:32]
    assert message.get_boundary() == f"=_{digest}"


def test_a_student_whose_courses_are_pending_is_told_why() -> None:
    pending = Membership(key="L1-2026", name="Licence 1", requires=Requirement.PEDAGOGICAL, met=False)
    assert "inscription pédagogique" in body(WELCOME.render(account(cohorts=(pending,))))
    for change in ({"met": True}, {"requires": Requirement.ADMINISTRATIVE}):
        other = pending.model_copy(update=change)
        assert "inscription pédagogique" not in body(WELCOME.render(account(cohorts=(other,))))


def test_rendering_twice_gives_the_same_bytes_with_crlf_throughout() -> None:
    first = WELCOME.render(account())
    assert first == WELCOME.render(account())
    assert first.count(b"\n") == first.count(b"\r\n")
    assert max(len(line) for line in first.split(b"\r\n")) <= 998  # RFC 5322, section 2.1.1


def test_the_message_id_is_for_ever_the_students_and_does_not_show_the_number() -> None:
    renamed = account({"usage_name": "Martin"}, mail="zoe.martin@etu.univ-exemple.fr", version=9)
    ids = {read(WELCOME.render(a))["Message-ID"] for a in (account(), renamed)}
    assert ids == {WELCOME.message_id("22600123")}
    assert "22600123" not in WELCOME.message_id("22600123")
    digest = hashlib.sha256(b"welcome:22600123").hexdigest()[:32]
    assert WELCOME.message_id("22600123") == f"<welcome.{digest}@univ-exemple.fr>"
    odd = replace(WELCOME, letterhead=replace(WELCOME.letterhead, sender='"a@b"@univ-exemple.fr'))
    assert odd.message_id("22600123") == WELCOME.message_id("22600123")
    assert WELCOME.message_id("22600124") not in ids


@pytest.mark.parametrize(
    "name",
    ["Zoé\r\nBcc: tous@univ-exemple.fr", "Zoé\nX: y", "Zoé\u2028Bcc: x@y.fr", '"Zoé" <x@y.fr>', "Z\x00é"],
)
def test_a_name_cannot_add_a_header_or_a_recipient(name: str) -> None:
    message = read(WELCOME.render(account({"given_name": name})))
    (to,) = message["To"].addresses
    assert to.addr_spec == "zoe.lefevre@etu.univ-exemple.fr"
    assert to.display_name.isprintable()
    assert to.display_name == " ".join(to.display_name.split())
    assert set(message.keys()) == set(read(WELCOME.render(account())).keys())


def test_a_header_of_two_lines_is_refused_each_time() -> None:
    to = Address("Zoé", addr_spec="zoe.lefevre@etu.univ-exemple.fr")
    for _ in range(2):
        with pytest.raises(ValueError, match="linefeed or carriage return"):
            WELCOME.letterhead.write(to, "A\r\nBcc: b@x.fr", "", "fr", at=WELCOME.clock(), name="x")


def test_messages_of_many_students_have_their_own_headers() -> None:
    for number in [*range(200), 7]:
        student = account({"given_name": f"Zoé {number}"}, mail=f"zoe.{number}@x.fr")
        (to,) = read(WELCOME.render(student))["To"].addresses
        assert (to.display_name, to.addr_spec) == (f"Zoé {number} Lefèvre-Noël", f"zoe.{number}@x.fr")


def test_a_name_cannot_add_markup() -> None:
    html = body(WELCOME.render(account({"given_name": "<script>alert(1)</script>"})), "html")
    assert "<script" not in html
    assert "&lt;script&gt;" in html


@pytest.mark.parametrize("mail", ["zoe@x.fr\r\nBcc: a@b.fr", "sans arobase", "", "a@b@c"])
def test_an_address_that_cannot_stand_in_a_header_is_refused_unseen(mail: str) -> None:
    with pytest.raises(AddressUnusable, match="cannot stand in a") as refused:
        WELCOME.render(account(mail=mail))
    assert not mail or mail not in str(refused.value)


def test_the_redirection_sends_a_copy_and_says_who_wrote_it() -> None:
    script = script_for("zoe@ailleurs.example", own=frozenset({"zoe.lefevre@univ-exemple.fr"}))
    assert script.splitlines()[-2:] == ['require ["copy"];', 'redirect :copy "zoe@ailleurs.example";']
    assert script.startswith("# Redirection demandée")


def test_an_address_cannot_add_a_command_to_the_script() -> None:
    script = script_for('"; discard; #@ailleurs.example'.replace(" ", ""), own=frozenset())
    assert script.splitlines()[-1] == 'redirect :copy "\\";discard;#@ailleurs.example";'
    script = script_for('a\\"b@ailleurs.example', own=frozenset())
    assert script.splitlines()[-1] == 'redirect :copy "a\\\\\\"b@ailleurs.example";'


@pytest.mark.parametrize(
    "bad", ["", "zoe", "zoe@", "@x.fr", "a b@x.fr", "a@x.fr\nb", "a@x@y.fr", "é" * 65 + "@x.fr"]
)
def test_what_is_not_one_plain_address_is_refused_unseen(bad: str) -> None:
    with pytest.raises(RedirectInvalid, match="not a mail address") as refused:
        script_for(bad, own=frozenset())
    assert not bad or bad not in str(refused.value)


def test_a_redirection_to_the_mailbox_itself_is_refused() -> None:
    with pytest.raises(RedirectInvalid, match="the mailbox itself"):
        script_for("Zoe.Lefevre@univ-exemple.fr", own=frozenset({"zoe.lefevre@univ-exemple.fr"}))
