"""Every rule: a cause that can be told from what is known and seen, with its words in `words.toml`."""

from sesame.operations.people.diagnosis.rules import (
    account,
    connectors,
    directory,
    login,
    mail,
    moodle,
    passwords,
    work,
)
from sesame.operations.people.diagnosis.rules.base import Finding, Rule, all_rules

__all__ = [
    "Finding",
    "Rule",
    "account",
    "all_rules",
    "connectors",
    "directory",
    "login",
    "mail",
    "moodle",
    "passwords",
    "work",
]
