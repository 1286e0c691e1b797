"""Accounts as tests need them: one active student, and what a test is about."""

from __future__ import annotations

from typing import Any

from schemas.account import Account, Person, Stage


def account_of(number: str = "22600001", login: str = "lea.martin", **changes: Any) -> Account:
    """Léa Martin's active account, version 1, with `changes`. Addresses follow from the login."""
    values = {
        "student_number": number,
        "version": 1,
        "stage": Stage.ACTIVE,
        "login": login,
        "mail": f"{login}@etu.univ-exemple.fr",
        "principal": f"{login}@univ-exemple.fr",
        "person": Person(birth_name="Martin", given_name="Léa"),
    }
    return Account.model_validate({**values, **changes})
