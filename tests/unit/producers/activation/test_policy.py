"""What a password must be: the CNIL's three forms, nothing common, nothing that points to the person."""

from __future__ import annotations

import threading
from datetime import date

import pytest
from zxcvbn import matching  # type: ignore[import-untyped]

from producers.activation.policy import PasswordRule, PasswordSettings, Personal, judge

LEA = Personal.of(
    ["Léa", "de la Forêt-Martin", "lea.martin", None], ["22001234", "123456789AB"], date(2006, 2, 28)
)
SETTINGS = PasswordSettings()


@pytest.mark.parametrize(
    "password",
    [
        "kX9!vTq2#mLp",  # 12 of four kinds
        "kX9vTq2mLpRz7w",  # 14 of three kinds
        "sept vélos bleus roulent vite sous la pluie",  # a phrase, without capitals or digits
        "مدرسةكبيرة-Zq7!vTq",  # letters that have no case count among the others
        "Tournesol 42 – Zèbre",
        "k" + "X9!vTq2#mLp" * 40,
    ],
)
def test_a_password_of_one_of_the_three_forms_is_accepted(password: str) -> None:
    assert judge(password, LEA, SETTINGS).accepted


@pytest.mark.parametrize(
    ("password", "broken"),
    [
        ("", {PasswordRule.FORM, PasswordRule.COMMON}),
        ("kX9!vTq2#mL", {PasswordRule.FORM}),
        ("kX9vTq2mLpRz", {PasswordRule.FORM}),
        ("deux mots bleus", {PasswordRule.FORM}),
        ("la la la la la la la la", {PasswordRule.FORM, PasswordRule.COMMON}),
        ("Motdepasse2026!", {PasswordRule.COMMON}),
        ("Azertyuiop123!", {PasswordRule.COMMON}),
        ("Password1234!", {PasswordRule.COMMON}),
        ("Foret-9!vTq2#mLp", {PasswordRule.PERSONAL}),
        ("FORÊT-9!vTq2#mLp", {PasswordRule.PERSONAL}),
        ("xX!22001234-vTq2", {PasswordRule.PERSONAL}),
        ("xX!28022006-vTq2", {PasswordRule.PERSONAL}),
        ("kX9!vTq2\n#mLpW", {PasswordRule.PRINTABLE}),
        ("aB3!" + "kX9!vTq2#mLp" * 100, {PasswordRule.LENGTH_MAX}),
    ],
)
def test_what_is_wrong_is_said_rule_by_rule(password: str, broken: set[PasswordRule]) -> None:
    assert judge(password, LEA, SETTINGS).broken == broken


def test_a_short_name_stands_in_innocent_words_and_is_left_to_the_estimate() -> None:
    assert judge("pléaTq9!vT#2mLp", LEA, SETTINGS).accepted


def test_words_of_the_site_count_as_known() -> None:
    password, site = "Exemplopolis-1!", PasswordSettings(words_refused=("exemplopolis",))
    assert judge(password, LEA, SETTINGS).strength > judge(password, LEA, site).strength


def test_nobody_s_names_stay_in_the_library_and_threads_do_not_see_one_another_s() -> None:
    found: dict[str, set[int]] = {}

    def look(name: str) -> None:
        personal = Personal.of([name], [], None)
        found[name] = {judge(f"{name}-{name}-A1!", personal, SETTINGS).strength for _ in range(20)}

    threads = [threading.Thread(target=look, args=(f"quelquun{letter}xyz",)) for letter in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(map(frozenset, found.values())) == {frozenset({2})}
    assert "user_inputs" not in matching.RANKED_DICTIONARIES


ADDED = {"small": "q", "capital": "Q", "digit": "7", "other": "%"}


@pytest.mark.parametrize(
    "password",
    [
        "",
        "abc",
        "kX9!vTq2#mL",
        "kX9vTq2mLpRz",
        "trente-et-un chats",
        "quelques mots bleus sans suite",
        "azertyuiopqs",
        "ABCDEFGHIJKLM",
        "1234567890123456",
        "vert rouge",
        "la la la la la la la la",
    ],
)
def test_what_is_said_to_be_missing_is_enough_and_no_more(password: str) -> None:
    verdict = judge(password, LEA, SETTINGS)
    assert PasswordRule.FORM in verdict.broken
    assert verdict.shown_strength <= 1, "what is refused is never called good"
    missing = verdict.missing
    assert missing is not None
    needed = [ADDED[kind] for kind in missing.kinds]
    filled = password + "".join(needed) + "x" * max(0, missing.characters - len(needed))
    assert PasswordRule.FORM not in judge(filled, LEA, SETTINGS).broken
    assert PasswordRule.FORM in judge(filled[:-1], LEA, SETTINGS).broken
    if missing.words is not None:
        words = [f" mot{'abcdefgh'[n]}" for n in range(missing.words)]
        assert PasswordRule.FORM not in judge(password + "".join(words), LEA, SETTINGS).broken
        if password.islower():
            assert PasswordRule.FORM in judge(password + "".join(words[:-1]), LEA, SETTINGS).broken
