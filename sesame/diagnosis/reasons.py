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
