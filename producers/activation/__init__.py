"""Activation: students ask for their accounts.

By command: `activate`; `read_students` and `read_passwords` read what an operator hands over. By the
students' pages: by `Asking` for a message and by `Proofs` somebody shows who they are, `Choices` takes what
they settle, `Postman` sends the messages.
"""

from producers.activation.activating import ActivationReport, activate
from producers.activation.asking import Asking
from producers.activation.choosing import Choices
from producers.activation.digests import Digests
from producers.activation.files import (
    PasswordFileExposed,
    PasswordFileUnusable,
    StudentListUnusable,
    is_student_number,
    read_passwords,
    read_students,
)
from producers.activation.hashing import HashingSettings
from producers.activation.letters import Letters
from producers.activation.policy import PasswordSettings
from producers.activation.posting import Postman
from producers.activation.proofs import Proofs, ProofSettings
from producers.activation.smtp import Smtp

__all__ = [
    "ActivationReport",
    "Asking",
    "Choices",
    "Digests",
    "HashingSettings",
    "Letters",
    "PasswordFileExposed",
    "PasswordFileUnusable",
    "PasswordSettings",
    "Postman",
    "ProofSettings",
    "Proofs",
    "Smtp",
    "StudentListUnusable",
    "activate",
    "is_student_number",
    "read_passwords",
    "read_students",
]
