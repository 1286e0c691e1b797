"""Activation by command: students ask for their accounts, with a password each or without.

`activate` is the whole interface; `read_students` and `read_passwords` read what an operator hands over.
"""

from producers.activation.activating import ActivationReport, activate
from producers.activation.files import (
    PasswordFileExposed,
    PasswordFileUnusable,
    StudentListUnusable,
    read_passwords,
    read_students,
)
from producers.activation.hashing import HashingSettings

__all__ = [
    "ActivationReport",
    "HashingSettings",
    "PasswordFileExposed",
    "PasswordFileUnusable",
    "StudentListUnusable",
    "activate",
    "read_passwords",
    "read_students",
]
