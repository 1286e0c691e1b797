"""Ends of a login probe: what each means for others, and its remedy."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from schemas.language import gettext, gettext_noop


class ProbeOutcome(StrEnum):
    """A probe's end."""

    OK = "ok"
    EXPIRING = "expiring"  # a ticket, after a page of CAS's own, as before a password expires
    NOT_TRIED = "not_tried"  # there is no password to try; the server answers
    NO_FORM = "no_form"  # the login page asks for something else than a password
    REFUSED = "refused"  # CAS refuses the login; the directory could not be asked why
    WRONG_PASSWORD = "wrong_password"  # noqa: S105 (a token) - the directory refuses it too
    UNFIT_ENTRY = "unfit_entry"  # the directory has no such entry, or it is locked or expired
    CAS_ALONE_REFUSES = "cas_alone_refuses"  # the directory lets in whom CAS refuses, for every service
    DIRECTORY_DOWN = "directory_down"  # CAS refuses the login, and the directory does not answer
    SERVICE_REFUSED = "service_refused"
    TICKET_REJECTED = "ticket_rejected"
    MISMATCH = "mismatch"  # another login, or other attributes, than expected
    MISCONFIGURED = "misconfigured"  # we do not reach a CAS server: an address, a certificate
    UNAVAILABLE = "unavailable"

    @property
    def works(self) -> bool:
        """Whether the whole path to a ticket was seen."""
        return self in (ProbeOutcome.OK, ProbeOutcome.EXPIRING)

    @property
    def down(self) -> bool:
        """Whether a server is down, and no setting of ours is wrong."""
        return self in (ProbeOutcome.UNAVAILABLE, ProbeOutcome.DIRECTORY_DOWN, ProbeOutcome.CAS_ALONE_REFUSES)

    @property
    def of_the_probe(self) -> bool:
        """Whether it concerns the probe's own account only, and no other person's."""
        return self in (
            ProbeOutcome.NOT_TRIED,
            ProbeOutcome.NO_FORM,
            ProbeOutcome.REFUSED,
            ProbeOutcome.WRONG_PASSWORD,
            ProbeOutcome.UNFIT_ENTRY,
        )


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """A probe's end; for operators, what it met and what to do."""

    outcome: ProbeOutcome
    message: str = ""
    own_remedy: str = ""

    @property
    def remedy(self) -> str:
        """The remedy, for operators; empty: there is nothing to do."""
        return self.own_remedy or gettext(_REMEDIES.get(self.outcome, ""))


_REMEDIES = {
    ProbeOutcome.EXPIRING: gettext_noop(
        "Give the probe's entry a new password before this one expires, or a password policy "
        "without an end (pwdMaxAge 0)."
    ),
    ProbeOutcome.NOT_TRIED: gettext_noop("Set cas.probe_password_file: docs/how-to/connect-cas.md."),
    ProbeOutcome.NO_FORM: gettext_noop(
        "A page that needs a script or a second factor cannot be probed: leave cas.probe_password_file out."
    ),
    ProbeOutcome.REFUSED: gettext_noop(
        "Compare the password of cas.probe_login in the directory with cas.probe_password_file; "
        "then see whether CAS reaches its directory. It is not tried again by itself: wrong "
        "passwords lock an entry."
    ),
    ProbeOutcome.WRONG_PASSWORD: gettext_noop(
        "Give the entry of cas.probe_login the password of cas.probe_password_file, made without "
        "a line end: docs/how-to/connect-cas.md. It is not tried again by itself: wrong passwords"
        " lock an entry."
    ),
    ProbeOutcome.UNFIT_ENTRY: gettext_noop(
        "Mend the entry of cas.probe_login in the directory (ops/ldap/tree.ldif has it): there, "
        "not locked, with a password that does not expire."
    ),
    ProbeOutcome.CAS_ALONE_REFUSES: gettext_noop(
        "Look in CAS's own log whether it reaches its directory, and whether its search (base, "
        "filter) finds the entry of cas.probe_login."
    ),
    ProbeOutcome.DIRECTORY_DOWN: gettext_noop("Start the directory, or mend the network to it."),
    ProbeOutcome.SERVICE_REFUSED: gettext_noop(
        "Register cas.service_url with the CAS server, exactly, and let cas.probe_login through "
        "its access strategy: docs/how-to/connect-cas.md."
    ),
    ProbeOutcome.TICKET_REJECTED: gettext_noop(
        "Compare cas.service_url with what the CAS server has, and both clocks."
    ),
    ProbeOutcome.MISMATCH: gettext_noop(
        "Look at the attributes that the CAS server releases to cas.service_url."
    ),
    ProbeOutcome.UNAVAILABLE: gettext_noop(
        "See whether the CAS server runs, and whether it reaches its directory."
    ),
}
