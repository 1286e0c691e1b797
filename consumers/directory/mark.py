"""The probe's mark: an entry of the pipeline's own is written, and read back."""

from __future__ import annotations

import secrets

from consumers.directory.answers import Code
from consumers.directory.difference import texts
from consumers.directory.ldap import LdapClient
from consumers.directory.patience import Patience, expect_success
from pipeline.errors import Misconfigured, TargetDown

_READS_MAX = 3


def leave_mark(client: LdapClient, patience: Patience, dn: str, now_ns: int) -> None:
    """Write a mark on the entry for probes and see it there. Several processes may do so at once: a later
    mark will do too.

    Args:
        dn: the entry's name.
        now_ns: nanoseconds since the epoch: marks are compared by it.

    Raises:
        Misconfigured: there is no such entry, or no right to write it.
        TargetDown: it could not be written, or is not shown.
    """
    mark = f"probe {now_ns:020d} {secrets.token_hex(8)}"
    answer = patience.had(lambda: client.modify(dn, [("replace", "description", (mark,))], revision=None))
    if answer.code == Code.NO_SUCH_OBJECT:
        raise Misconfigured(
            "the directory has no entry for probes",
            remedy="add the last entry of ops/ldap/tree.ldif, or correct its DN in the settings",
        )
    expect_success(answer)
    for _ in range(_READS_MAX):
        raw = patience.had(lambda: client.entry(dn, ["description"])) or {}
        if any(value >= mark for value in texts(raw, "description")):
            return
    raise TargetDown("the directory accepted the probe's write and does not show it")
