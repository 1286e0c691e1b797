"""Properties of what people give: mail addresses at each gate that they pass, and preferred given names."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from consumers.mailbox.mailbox import script_for
from consumers.registry.choices import preference_change
from pipeline.facts import Rejected
from pipeline.letters import mailbox
from producers.registrar.faults import Fault
from producers.registrar.physical import Line
from producers.registrar.profiles import apogee
from producers.registrar.rows import parse
from schemas.events import Preference
from schemas.scalars import MAIL_ADDRESS_LENGTH_MAX, is_mail_address
from sesame.testing.servers.narrowing import expect
from sesame.testing.servers.registrar_kit import ZOE

HOSTILE = [
    "zoe@example",
    "zoe@@example.org",
    "zoe@example.org\nBcc: all@example.org",
    "zoe@example.org, all@example.org",
    '"zoe lefevre"@example.org',
    "zoe..lefevre@example.org",
    "zoe@exämple.org",
    "<zoe@example.org>",
    "zoe@[127.0.0.1]",
    "zoe@example.org\x00",
    "=cmd|'/C calc'!A0@example.org",
    "\u202ezoe@example.org",
]
ATOM = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+_-'", min_size=1, max_size=12)
LABEL = st.from_regex(r"\A[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?\Z")
ADDRESS = st.builds(
    lambda local, domain, top: f"{'.'.join(local)}@{'.'.join(domain)}.{top}",
    st.lists(ATOM, min_size=1, max_size=3),
    st.lists(LABEL, min_size=1, max_size=3),
    st.from_regex(r"\A[a-z]{2,8}\Z"),
)
ANY_TEXT = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(max_size=40),
    st.builds(lambda text: f"{text}@example.org", st.text(max_size=20)),
    st.builds(lambda text: f"{text}@example.org", st.text("aÉ\u0301ßж用.-'’+", max_size=20)),
    st.builds(lambda text: f"zoe@{text}.org", st.text("aÉ\u0301ßж用.-’1", max_size=80)),
)
ANY_NAME = st.one_of(st.text(max_size=120), st.text("aé\u0301\u200f\u202e \t\n\x85\u2028'’-", max_size=30))


def imported(mail: str) -> Mapping[str, Any] | list[Fault]:
    """What the registrar's gate makes of a line with this personal address."""
    stated = parse(Line(2, tuple((ZOE | {"MAIL_PERSO": mail}).values())), apogee())
    return [each.fault for each in stated] if isinstance(stated, list) else stated


def chosen(preference: Preference, text: str) -> str | Rejected | None:
    """What the student's gate makes of it."""
    try:
        [value] = preference_change(preference, text, None).values()
    except Rejected as refused:
        return refused
    assert value is None or isinstance(value, str)
    return value


def redirected(text: str) -> str | Rejected | None:
    return chosen(Preference.MAIL_REDIRECT, text)


def named(text: str) -> str | Rejected | None:
    return chosen(Preference.PREFERRED_GIVEN_NAME, text)


@given(ADDRESS)
@example("ZOE.Lefevre+univ@example.org")
def test_an_address_as_people_have_them_passes_every_gate_as_it_is(address: str) -> None:
    assert expect(dict, imported(address))["personal_mail"] == redirected(address) == address
    quoted = re.findall(r'"((?:[^"\\]|\\.)*@(?:[^"\\]|\\.)*)"', script_for(address, own=frozenset()))
    assert quoted == [address]


@given(ANY_TEXT)
@example("?@0.00")  # an address with a question mark where a letter was
def test_whatever_passes_the_registrar_s_gate_is_one_plain_address_and_what_does_not_has_its_fault(
    text: str,
) -> None:
    stated = imported(text)
    if isinstance(stated, list):
        assert stated
        known = {Fault.BAD_MAIL, Fault.TOO_LONG, Fault.CONTROL_CHARACTER, Fault.DAMAGED_TEXT}
        assert set(stated) <= known
        return
    mail = stated.get("personal_mail")
    if mail is None:
        assert not text.strip()
        return
    local, _, domain = mail.partition("@")
    visible = "".join(each for each in text if unicodedata.category(each) != "Cf")
    assert mail == unicodedata.normalize("NFC", visible).strip()
    assert local
    assert "." in domain
    assert "@" not in domain
    assert not re.search(r"[\s,;<>\x00-\x1f\x7f]", mail)
    written = mailbox(mail)  # and a message can be written to it
    assert written.username == local
    assert written.domain.isascii()


@given(ANY_TEXT)
def test_whatever_passes_the_student_s_gate_can_be_redirected_to_and_a_refusal_repeats_nothing(
    text: str,
) -> None:
    address = redirected(text)
    if isinstance(address, Rejected):
        assert address.cause == "invalid_mail_redirect"
        assert len(text.strip()) < 4 or text.strip() not in str(address)
        return
    if address is None:
        assert not text.strip()
        return
    assert is_mail_address(address)
    assert len(address) <= MAIL_ADDRESS_LENGTH_MAX
    assert f'"{address}"' in script_for(address, own=frozenset()).replace("\\", "")


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_no_plain_address_passes_neither_gate_for_students(text: str) -> None:
    assert isinstance(redirected(text), Rejected)


@given(ANY_NAME)
def test_a_preferred_given_name_is_one_line_in_nfc_without_marks_that_turn_it_round(name: str) -> None:
    shown = named(name)
    if shown is None:
        return
    if isinstance(shown, Rejected):
        assert shown.cause == "invalid_preferred_given_name"
        return
    assert shown == unicodedata.normalize("NFC", shown).strip()
    assert 0 < len(shown) <= 100
    assert not {"Cc", "Zl", "Zp"} & set(map(unicodedata.category, shown))
    assert not set("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069") & set(shown)
    assert named(shown) == shown
