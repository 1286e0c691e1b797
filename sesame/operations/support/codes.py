"""Codes that are read out on the telephone: random, without letters that are mistaken for one another.

They carry nothing of the student, and open nothing by themselves: whoever has one must belong to the desk
besides. Ten characters of 32 are 50 bits, so that nobody finds another student's by trying.
"""

from __future__ import annotations

import secrets

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32: no I, L, O, U
LENGTH = 10
_GROUP = 5
_MISREAD = str.maketrans({"O": "0", "I": "1", "L": "1", "U": "V"})


def new_code() -> str:
    """A code, as it is kept."""
    return "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))


def shown(code: str) -> str:
    """A code as people read it: in two groups."""
    return f"{code[:_GROUP]}-{code[_GROUP:]}"


def read(typed: str) -> str:
    """A code as somebody typed it: without separators, in capitals, with misread letters put right."""
    return "".join(filter(str.isalnum, typed.upper())).translate(_MISREAD)
