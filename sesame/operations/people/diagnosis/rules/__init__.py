"""All rules: each a cause that shows in the records, worded in `words.toml`."""

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
