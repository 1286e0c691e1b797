"""The redirection that a student opted in to, as a sieve script (RFC 5228) that keeps a copy (RFC 3894)."""

from __future__ import annotations

import re
from typing import Final

SCRIPT: Final = "sesame"
"""The project's own name among a student's sieve scripts. No other script is ever touched."""

_ADDRESS = re.compile(r"[^\s@\x00-\x1f\x7f]{1,64}@[^\s@\x00-\x1f\x7f]{1,255}")

_SCRIPT = """\
# Redirection demandée par l'étudiant dans le portail. Ce texte est réécrit par Sésame : pour changer ou
# arrêter la redirection, passer par le portail.
# Redirection asked for by the student in the portal. Sésame rewrites this text: to change or stop the
# redirection, use the portal.
require ["copy"];
redirect :copy "{address}";
"""


class RedirectInvalid(ValueError):
    """The address of the redirection cannot be used; the address itself is not shown."""


def script_for(redirect: str, *, own: frozenset[str]) -> str:
    """The script that sends a copy of each message to `redirect` and keeps it in the mailbox too.

    Args:
        redirect: a mail address.
        own: the mailbox's own addresses, to which a redirection would be a loop.

    Raises:
        RedirectInvalid: it is not one plain address, or it is the mailbox itself.
    """
    if not _ADDRESS.fullmatch(redirect):
        raise RedirectInvalid("it is not a mail address")
    if redirect.casefold() in {address.casefold() for address in own}:
        raise RedirectInvalid("it is the mailbox itself")
    quoted = redirect.replace("\\", "\\\\").replace('"', '\\"')  # RFC 5228, section 2.4.2
    return _SCRIPT.format(address=quoted)
