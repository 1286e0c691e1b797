"""Find the file, read it and the environment, and check both as one."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_settings import SettingsError as SourceError

from consumers.kit.connector import ConnectorUnusable
from consumers.kit.registration import Choice
from pipeline.errors import system_words
from pipeline.settings import SettingsError
from schemas.language import gettext
from sesame.settings import connectors
from sesame.settings.explain import ENV_NESTED, ENV_PREFIX, Sources, explain, in_environment, unknown_key
from sesame.settings.model import Settings

CONFIG_VARIABLE = "SESAME_CONFIG"
RESERVED_VARIABLES = frozenset({CONFIG_VARIABLE, "SESAME_DEBUG"})
"""Variables of the prefix that are not settings."""

USUAL_FILES = (Path("sesame.toml"), Path("/etc/sesame/sesame.toml"))


@dataclass(frozen=True)
class _File:
    path: Path | None = None
    text: str = ""
    content: dict[str, Any] = field(default_factory=dict)


def named_file(config: Path | None = None) -> Path | None:
    """The settings file that is named, by `config` or `SESAME_CONFIG`; it may not exist."""
    return config or (Path(os.environ[CONFIG_VARIABLE]) if os.environ.get(CONFIG_VARIABLE) else None)


def find_file(config: Path | None = None) -> Path | None:
    """The settings file: as named, else a usual one, or none.

    Raises:
        SettingsError: the file named does not exist.
    """
    named = named_file(config)
    if named is not None:
        if not named.is_file():
            raise SettingsError(
                gettext("the settings file {path} does not exist", path=named),
                remedy=gettext(
                    "Name another one by --config or {variable}; `sesame init` writes one.",
                    variable=CONFIG_VARIABLE,
                ),
            )
        return named
    here, usual = USUAL_FILES
    if os.path.isfile(here):  # noqa: PTH113 -- root's own folder, closed to `sesame`, has no such file
        return here
    return usual if usual.is_file() else None


def load(config: Path | None = None) -> Settings:
    """All settings: the environment's over the file's over the defaults.

    A relative path in the file is relative to the file's folder; one in the environment, to the working
    directory.

    Raises:
        SettingsError: with a line for each fault: where it is, what it is, and what would be right.
    """
    file = _read(find_file(config))
    sources = Sources(file.path, file.text, file.content, _environment())
    chosen = connectors.choices(sources)
    model = connectors.model_for(chosen)
    faults = [
        gettext("{place}: {what}", place=in_environment(name), what=unknown_key(model, sources.path_of(name)))
        for name in sorted(sources.environment)
        if name not in RESERVED_VARIABLES and not _is_setting(model, name)
    ]
    try:
        settings = _checked(chosen, sources)
    except ValidationError as error:
        raise _refused(faults + explain(error, model, sources)) from None
    except SourceError as error:
        wrong = gettext("environment: {error}: it must be JSON", error=error)
        raise _refused([*faults, wrong]) from None
    if faults:
        raise _refused(faults)
    return settings


def _checked(chosen: Mapping[str, Choice], sources: Sources) -> Settings:
    """Check the settings; leave out wrong sections of other packages. Raises ValidationError for ours."""
    model = connectors.model_for(chosen)
    try:
        settings = model(**_absolute(model, sources.content, sources.file))
    except ValidationError as error:
        wrong = {str(each["loc"][0]) for each in error.errors() if each["loc"]}
        if not wrong or not wrong <= {name for name, each in chosen.items() if each.connector is not None}:
            raise
        lines = explain(error, model, sources)
        faults = {
            name: Choice(fault=ConnectorUnusable("\n".join(lines), remedy=SettingsError.remedy))
            for name in wrong
        }
        return _checked({**chosen, **faults}, sources)
    settings.choose(chosen)
    return settings


def _refused(faults: list[str]) -> SettingsError:
    return SettingsError(
        "\n".join([gettext("the settings cannot be used:"), *(f"  {fault}" for fault in faults)])
    )


def _read(path: Path | None) -> _File:
    if path is None:
        return _File()
    try:
        text = path.read_text(encoding="utf-8")
        return _File(path, text, tomllib.loads(text))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(
            gettext("{path} is not TOML: {why}", path=path, why=error),
            remedy=gettext("See https://toml.io for the syntax."),
        ) from None
    except OSError as error:
        raise SettingsError(
            gettext("the settings file {path} cannot be read: {why}", path=path, why=system_words(error))
        ) from error


def _environment() -> dict[str, str]:
    return {name.upper(): value for name, value in os.environ.items() if name.upper().startswith(ENV_PREFIX)}


def _is_setting(model: type[Settings], name: str) -> bool:
    """True if the variable begins with a setting or section. Its rest is checked with the file."""
    first = name.removeprefix(ENV_PREFIX).split(ENV_NESTED, maxsplit=1)[0]
    return first.lower() in model.model_fields


def _absolute(model: type[BaseModel], content: Mapping[str, Any], path: Path | None) -> dict[str, Any]:
    """Resolve the relative paths in `content` against the folder of the file `path`."""
    if path is None:
        return dict(content)
    fields = model.model_fields
    return {
        name: _placed(fields[name].annotation, value, path) if name in fields else value
        for name, value in content.items()
    }


def _placed(annotation: Any, value: Any, path: Path) -> Any:
    if isinstance(value, dict):
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return _absolute(annotation, value, path)
        if get_origin(annotation) is dict:
            of = get_args(annotation)[1]
            return {name: _placed(of, each, path) for name, each in value.items()}
    elif isinstance(value, str) and (annotation is Path or Path in get_args(annotation)):
        return str(path.absolute().parent / Path(value).expanduser())
    return value
