"""Which desk a case goes to: by its causes and by the student's component."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sesame.operations.diagnosis.engine import StudentCause
from sesame.operations.diagnosis.rules.base import Language, all_rules
from sesame.settings import Settings

_GRAVITY = ("stops", "delays", "tells")


@dataclass(frozen=True)
class SupportDesk:
    """The desk that a case goes to, with its opening hours (empty: not said)."""

    name: str
    mail: str
    hours: str = ""


def desk_for(
    settings: Settings, causes: Sequence[StudentCause], components: Collection[str], language: Language
) -> SupportDesk:
    """The desk for the gravest cause: one that names it, else one for any cause.

    Args:
        components: codes of the student's components.
    """
    lead = min(causes, key=lambda cause: _GRAVITY.index(cause.weight), default=None)
    about = _about(lead) if lead is not None else frozenset[str]()
    fitting = [
        desk
        for desk in settings.support.desks
        if _names(desk.causes, about) and _names(desk.components, components)
    ]
    best = max(fitting, key=lambda desk: bool(desk.causes) + bool(desk.components), default=None)
    if best is None:
        return SupportDesk("Assistance" if language == "fr" else "Support desk", settings.portal.support)
    hours = (best.hours_en or best.hours) if language == "en" else best.hours
    return SupportDesk(best.name, best.mail, hours)


def _about(cause: StudentCause) -> frozenset[str]:
    """What a desk may name of a cause: the rule, the service, who must act."""
    rule = all_rules().get(cause.rule)  # a case of another version of the program
    return frozenset({cause.rule, cause.service, rule.who if rule is not None else ""})


def _names(wanted: Sequence[str], found: Collection[str]) -> bool:
    return not wanted or not set(wanted).isdisjoint(found)
