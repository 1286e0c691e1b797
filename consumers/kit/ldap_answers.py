"""LDAP answers (RFC 4511) without the library: codes, entries, modifications."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

from pipeline.errors import SesameError

Raw = Mapping[str, Sequence[bytes]]
"""An entry's attributes as the server sent them."""

Operation = Literal["add", "delete", "replace"]

Modification = tuple[Operation, str, tuple[str, ...]]
"""Operation, attribute and values."""


class Code(IntEnum):
    """The result codes that we distinguish (RFC 4511, appendix A). 122: RFC 4528; 4096: RFC 4533."""

    SUCCESS = 0
    OPERATIONS_ERROR = 1
    PROTOCOL_ERROR = 2
    TIME_LIMIT = 3
    SIZE_LIMIT = 4
    STRONGER_AUTH_REQUIRED = 8
    REFERRAL = 10
    ADMIN_LIMIT = 11
    CRITICAL_EXTENSION = 12
    CONFIDENTIALITY_REQUIRED = 13
    NO_SUCH_ATTRIBUTE = 16
    UNDEFINED_TYPE = 17
    CONSTRAINT = 19
    VALUE_EXISTS = 20
    INVALID_SYNTAX = 21
    NO_SUCH_OBJECT = 32
    INVALID_NAME = 34
    INAPPROPRIATE_AUTH = 48
    INVALID_CREDENTIALS = 49
    INSUFFICIENT_ACCESS = 50
    BUSY = 51
    UNAVAILABLE = 52
    UNWILLING = 53
    NAMING_VIOLATION = 64
    OBJECT_CLASS_VIOLATION = 65
    ENTRY_EXISTS = 68
    CLASS_MODS_PROHIBITED = 69
    OTHER = 80
    ASSERTION_FAILED = 122
    REFRESH_REQUIRED = 4096


@dataclass(frozen=True, slots=True)
class LdapAnswer:
    """A result code, and the server's remark, which never leaves this consumer."""

    code: int
    diagnostic: str = ""


class Busy(SesameError):
    """The directory cannot do this now: busy, a time limit, an internal error."""


class Lost(SesameError):
    """The connection broke, or no answer came in time: what was asked may have been done, or may yet be."""


def is_deeper(dn: str, branch: str) -> bool:
    """True for an entry below a branch, but not directly. Commas in values are escaped (RFC 4514)."""
    name, ours = normal(dn), f",{normal(branch)}"
    return name.endswith(ours) and re.search(r"(?<!\\),", name[: -len(ours)]) is not None


def normal(dn: str) -> str:
    """Normalize a distinguished name: lower case, no blanks about commas."""
    return ",".join(part.strip() for part in dn.lower().split(","))
