"""Codes that people read out and type, without letters that are mistaken for one another.

Ten characters of 32 are 50 bits, too many to guess another person's.
"""

from __future__ import annotations

import secrets

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32: no I, L, O, U
LENGTH = 10
_GROUP = 5
_MISREAD = str.maketrans({"O": "0", "I": "1", "L": "1", "U": "V"})


def new_code() -> str:
    """A new random code, in its stored form."""
    return "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))


def shown_code(code: str) -> str:
    """A code as people read it: in two groups."""
    return f"{code[:_GROUP]}-{code[_GROUP:]}"


def read_code(typed: str) -> str:
    """Normalise a typed code: no separators, capitals, misread letters corrected."""
    return "".join(filter(str.isalnum, typed.upper())).translate(_MISREAD)
