"""A student, for tests that need one."""

from __future__ import annotations

from typing import Any

from schemas.account import Account, Person, Stage


def account(number: str = "22601234", **fields: Any) -> Account:
    state: dict[str, Any] = {
        "student_number": number,
        "version": 1,
        "stage": Stage.ACTIVE,
        "login": f"hugo.roux{number}",
        "mail": f"hugo.roux{number}@univ-exemple.fr",
        "principal": f"hugo.roux{number}@univ-exemple.fr",
        "person": Person(birth_name="Roux", given_name="Hugo"),
        "affiliations": ("student",),
    }
    return Account(**(state | fields))
