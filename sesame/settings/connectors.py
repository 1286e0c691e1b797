"""Sections of connectors from other packages: each one's connector, or its fault.

A connector that cannot be used must not keep the others from their work: its section is left out, with the
reason, which its consumer then reports.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from pydantic import Field, JsonValue, create_model
from pydantic_core import PydanticUndefined

from consumers.kit import registration
from consumers.kit.registration import Choice
from consumers.kit.settings import ConnectorSettings
from sesame.settings.explain import ENV_NESTED, ENV_PREFIX, Sources
from sesame.settings.model import Settings

_WHICH = "connector"


def choices(sources: Sources) -> dict[str, Choice]:
    """Connectors of sections that are not Sésame's, and of targets without a section.

    A section is for the connector that it is named for, or for the one that its `connector` names.
    """
    return {name: Choice.of(which) for name, which in sorted(_named(sources))}


def _named(sources: Sources) -> Iterator[tuple[str, str]]:
    known = registration.installed()
    given = {name: value for name, value in sources.content.items() if isinstance(value, dict)}
    in_environment = {str(path[0]) for path in map(sources.path_of, sources.environment) if len(path) > 1}
    for name in {*given, *in_environment, *_targets(sources)} - Settings.model_fields.keys():
        variable = f"{ENV_PREFIX}{name}{ENV_NESTED}{_WHICH}".upper()
        which = sources.environment.get(variable) or given.get(name, {}).get(_WHICH)
        if isinstance(which, str) or name in known:
            yield name, which if isinstance(which, str) else name


def _targets(sources: Sources) -> Sequence[str]:
    """The targets as given, before their connectors are known."""
    found: JsonValue = sources.content.get("targets", [])
    if text := sources.environment.get(f"{ENV_PREFIX}TARGETS"):
        try:
            found = json.loads(text)
        except ValueError:
            return ()
    return [each for each in found if isinstance(each, str)] if isinstance(found, list) else ()


def model_for(chosen: Mapping[str, Choice]) -> type[Settings]:
    """The settings' model, with a section for each of these."""
    return _model(
        tuple((name, each.connector.section if each.connector else None) for name, each in chosen.items())
    )


@cache
def _model(sections: tuple[tuple[str, type[ConnectorSettings] | None], ...]) -> type[Settings]:
    if not sections:
        return Settings
    fields: dict[str, Any] = {}
    for name, section in sections:
        if section is None:
            fields[name] = (dict[str, Any], Field(default_factory=dict))
            continue
        own = create_model(section.__name__, __base__=section, __doc__=section.__doc__)
        setattr(own, "place", name)  # noqa: B010 (mypy does not know a made model's base)
        needs = any(each.is_required() for each in own.model_fields.values())
        fields[name] = (own, Field(PydanticUndefined) if needs else Field(default_factory=own))
    return create_model(Settings.__name__, __base__=Settings, **fields)
