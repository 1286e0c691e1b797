"""What each reason and cause means, and what happens next: one line each, for support and operators."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Explanation:
    """A token in words.

    Attributes:
        what: what it means.
        next: what happens next, or who must do what.
    """

    what: str
    next: str


EXPLANATIONS: dict[str, Explanation] = {
    # business preconditions
    "administrative_enrolment_pending": Explanation(
        "No administrative enrolment is in force (not validated, or payment awaited).",
        "The registrar validates the enrolment; the next import goes on by itself.",
    ),
    "pedagogical_enrolment_pending": Explanation(
        "Some courses open with the pedagogical enrolment, which the component has not validated yet. "
        "All else works.",
        "The component validates the enrolment; the next import goes on by itself.",
    ),
    "credential_needed": Explanation(
        "The entry has no password, and the vault no longer holds it.", "The student sets a new password."
    ),
    "moodle_username_taken": Explanation(
        "Somebody else holds this login in Moodle.",
        "An operator decides in Moodle who it is (idnumber); it is looked at again by itself.",
    ),
    "mailbox_full": Explanation(
        "The mailbox is over its quota.", "The student deletes messages, or the quota is raised."
    ),
    "own_sieve_script_active": Explanation(
        "The student's own sieve script is active, and is not replaced.",
        "The student deactivates it, or takes the redirection back.",
    ),
    # mailbox
    "mailbox_not_enabled": Explanation(
        "The mail server does not find this user in the directory: the entry has another mail, or its "
        "mailbox is not enabled there (sesameMailEnabled).",
        "It is tried again; if it lasts, replay the directory for this student.",
    ),
    "directory_behind": Explanation(
        "Access is to be shut, and the mail server still finds the user in the directory.",
        "It is tried again; if it lasts, replay the directory for this student.",
    ),
    "delivery_deferred": Explanation(
        "The mail server does not take the welcome message now.", "It is tried again; see the server's log."
    ),
    "delivery_unknown": Explanation(
        "The connection broke while the welcome message was being delivered.",
        "The message is looked for in the mailbox first, and sent again only if it provably never came.",
    ),
    "welcome_refused": Explanation(
        "The mail server refuses the welcome message for good.", "See the server's log, correct, then replay."
    ),
    "redirect_invalid": Explanation(
        "The address of the redirection cannot be used; all else is done.", "The student chooses another one."
    ),
    "redirect_refused": Explanation(
        "Dovecot does not accept the redirection's sieve script.", "See its log (sieve limits), then replay."
    ),
    "mail_address_invalid": Explanation(
        "The student's mail address cannot stand in a message's header.",
        "Correct the mail template (registry.mail_template), then replay.",
    ),
    "folder_name_refused": Explanation(
        "Dovecot cannot use the name of a folder.", "Correct mailbox.folders, then replay."
    ),
    "mailbox_busy": Explanation(
        "The mail server could not read or write this one mailbox.",
        "It is tried again; if it lasts, see the server's log (locks, disk, damaged index).",
    ),
    "mailbox_slow": Explanation(
        "The mail server is slow: there was no time left for this student.", "It is tried again by itself."
    ),
    # engine
    "leased": Explanation(
        "A call to the target may still have an effect.", "It is compared again when that is over."
    ),
    "fails_alone": Explanation(
        "The target fails on this student's work, and works for others.", "It is tried again, then given up."
    ),
    "internal_error": Explanation("A fault of Sésame's own.", "Report it with the log, then replay."),
    "identity_collision": Explanation(
        "The login is held by somebody else in the target.",
        "An operator finds out who holds it; the entry is never taken over. Then replay.",
    ),
    "doubtful_identity": Explanation(
        "Two student numbers may be one person, or a number may have changed hands.",
        "An operator looks (`sesame identities show`) and decides (`merge` or `separate`).",
    ),
    "number_reissued": Explanation(
        "The number belongs to somebody else, as an operator decided.",
        "The registrar gives the newcomer a number of their own, and corrects this one.",
    ),
    "unknown_student": Explanation(
        "An event names a student whom the registry does not know.", "Import the registrar's file again."
    ),
}


def explain(token: str | None) -> Explanation:
    """The explanation of a token; a plain one for those that are not listed."""
    if token in EXPLANATIONS:
        return EXPLANATIONS[token]
    words = (token or "unknown").replace("_", " ")
    return Explanation(words[:1].upper() + words[1:] + ".", "See `sesame dead-letters list` for the remedy.")
