"""Withdrawn settings: no site could choose them, so they are constants now.

The reason is where each is used. An older file still works: where it gives the constant's value, the operator
is warned that it is unneeded; where it gives another, the start stops, since it would not be obeyed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from schemas.language import gettext
from sesame.settings.explain import ENV_NESTED, ENV_PREFIX, Sources, in_environment, in_file

WITHDRAWN: Final[Mapping[tuple[str, str], float]] = {
    ("activation", "lanes"): 1,
    ("log", "linger_s"): 0.005,
    ("moodle", "membership_age_s_max"): 60.0,
    ("support", "again_s"): 900.0,
    ("timetable", "attempts"): 2,
}
"""Each one's section and name, and what it always is now."""


@dataclass(frozen=True)
class WithdrawnSetting:
    """A withdrawn setting that is still given: its place, its value, and the remedy."""

    place: str
    value: object
    always: float
    remedy: str

    @property
    def same(self) -> bool:
        """True if it changes nothing."""
        try:
            return not isinstance(self.value, bool) and float(str(self.value)) == self.always
        except ValueError:
            return False

    def __str__(self) -> str:
        """One line."""
        if self.same:
            text = gettext("is no longer needed, it is always {always:g}", always=self.always)
        else:
            text = gettext(
                "can no longer be set and is always {always:g}, but is {value!r} here",
                always=self.always,
                value=self.value,
            )
        return gettext("{place}: {what}", place=self.place, what=text)


def found_in(sources: Sources) -> Iterator[WithdrawnSetting]:
    """Withdrawn settings that the file or the environment still gives."""
    for (section, name), always in WITHDRAWN.items():
        if _holds(sources.content, section, name):
            line = sources.line((section, name))
            remedy = (
                gettext("Remove line {line} of {file}.", line=line, file=sources.file)
                if line
                else gettext("Remove {name} from {file}.", name=f"{section}.{name}", file=sources.file)
            )
            place = in_file(sources.file, line, (section, name))
            yield WithdrawnSetting(place, sources.content[section][name], always, remedy)
        whole = f"{ENV_PREFIX}{section}".upper()
        variable = f"{whole}{ENV_NESTED}{name}".upper()
        if variable in sources.environment:
            value = sources.environment[variable]
            remedy = gettext("Unset {variable}.", variable=variable)
            yield WithdrawnSetting(in_environment(variable), value, always, remedy)
        given = _json(sources.environment.get(whole, ""))
        if _holds({section: given}, section, name):
            remedy = gettext("Take {name} out of {variable}.", name=name, variable=whole)
            yield WithdrawnSetting(in_environment(whole), given[name], always, remedy)


def without(content: Mapping[str, Any]) -> dict[str, Any]:
    """`content` without those settings."""
    return {
        key: {name: each for name, each in value.items() if (key, name) not in WITHDRAWN}
        if isinstance(value, dict)
        else value
        for key, value in content.items()
    }


def _holds(content: Mapping[str, Any], section: str, name: str) -> bool:
    return isinstance(content.get(section), dict) and name in content[section]


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
