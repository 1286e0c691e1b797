"""What each reason and cause means, and what happens next: one line each, for support and operators.

The words are in `reasons.toml`; those of Moodle stand beside the code that finds them.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from consumers.moodle.causes import CauseKind, MoodleCause

_WORDS = Path(__file__).with_name("reasons.toml")
_KINDS = {CauseKind.WAIT: "waiting", CauseKind.RETRY: "retry", CauseKind.DEAD: "dead"}
_WHO = {"waiting": "operator", "retry": "nobody", "dead": "operator"}
_NEXT = {
    "waiting": "An operator mends it in Moodle; it is looked at again by itself.",
    "retry": "It is tried again by itself.",
    "dead": "An operator mends it, then replays.",
}


@dataclass(frozen=True)
class Explanation:
    """A token in words.

    Attributes:
        kind: how a turn that ended so ended: waiting, retry or dead.
        where: the consumers that say it.
        what: what it means.
        next: what happens next, or who must do what.
        who: who must act: a token of the rules' words (`rules/words.toml`).
        held_back: nothing is written until it ends: the target may have nothing of the student.
    """

    kind: str
    where: str
    what: str
    next: str
    who: str = "nobody"
    held_back: bool = False


@cache
def explanations() -> Mapping[str, Explanation]:
    """Every token that is explained."""
    words = tomllib.loads(_WORDS.read_text(encoding="utf-8"))
    moodle = {
        cause.value: Explanation(
            kind := _KINDS[cause.kind],
            "moodle",
            cause.explanation,
            _NEXT[kind],
            _WHO[kind],
            held_back=cause.kind is CauseKind.WAIT,
        )
        for cause in MoodleCause
    }
    return {token: Explanation(**each) for token, each in words.items()} | moodle


def explain(token: str | None) -> Explanation:
    """The explanation of a token; a plain one for a token of another version of the program."""
    known = explanations().get(token or "")
    if known is not None:
        return known
    words = (token or "unknown").replace("_", " ")
    what = words[:1].upper() + words[1:] + "."
    return Explanation("", "", what, "See the dead letters for the remedy.", who="operator")


def for_operator(*counted: Mapping[tuple[str, str], int]) -> dict[tuple[str, str], int]:
    """Of what was counted by consumer and reason or cause, what an operator must mend."""
    return {
        (consumer, token): count
        for counts in counted
        for (consumer, token), count in sorted(counts.items())
        if explain(token).who == "operator"
    }
