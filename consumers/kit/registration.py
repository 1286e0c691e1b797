"""Find connectors by entry point: third-party packages work as ours do.

A package names its connectors in its metadata, and nothing in Sésame is edited:

    [project.entry-points."sesame.connectors"]
    library = "univ_library.connector:Library"
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Final, Self, get_args

from pydantic import BaseModel

from consumers.kit.connector import Anything, Connector, ConnectorUnusable, Level
from consumers.kit.reasons import Reason
from consumers.kit.settings import ConnectorSettings
from pipeline.errors import NotInstalled, fault
from schemas.language import LANGUAGES

GROUP: Final = "sesame.connectors"
PROOF: Final = "proven.json"

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,30}")


@dataclass(frozen=True)
class Installed:
    """A connector of an installed package.

    Attributes:
        name: its name in `targets`, and of its section.
        package: the distribution's name and version, e.g. `sesame 0.1.0`.
    """

    name: str
    package: str
    points: tuple[EntryPoint, ...]

    def load(self) -> type[Anything]:
        """Import its class. Raises ConnectorUnusable: it cannot be imported, or is no connector."""
        return _load(self)


@cache
def installed() -> Mapping[str, Installed]:
    """Every connector of every installed package, by name; imports none."""
    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=GROUP):
        found.setdefault(point.name, []).append(point)
    return {
        name: Installed(name, ", ".join(_package(point) for point in points), tuple(points))
        for name, points in sorted(found.items())
    }


def of_package(package: str) -> tuple[str, ...]:
    """The names of a distribution's connectors."""
    return tuple(
        name
        for name, each in installed().items()
        if any(point.dist is not None and point.dist.name == package for point in each.points)
    )


def find(name: str) -> Installed:
    """The connector of this name. Raises ConnectorUnusable: no installed package has it."""
    known = installed()
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    hint = f"Did you mean {near[0]}? " if near else ""
    raise ConnectorUnusable(
        f"no installed package has a connector {name!r}",
        remedy=f"{hint}Install its package beside Sésame; `sesame connector list` shows what is there.",
    )


class ProvenRun(BaseModel):
    """The record of a run of the suite on the real product; empty: there is none.

    Attributes:
        product: its name and version.
        passed: the checks.
    """

    product: str = ""
    on: date | None = None
    passed: tuple[str, ...] = ()


def proof_file(connector: type[Anything]) -> Path:
    """The record's file, beside the connector."""
    return Path(inspect.getfile(connector)).with_name(PROOF)


def proof(connector: type[Anything]) -> ProvenRun:
    """The record of a connector's run on the real product."""
    path = proof_file(connector)
    return ProvenRun.model_validate_json(path.read_bytes()) if path.exists() else ProvenRun()


@dataclass(frozen=True)
class Choice:
    """A section's connector, or why it cannot be used."""

    connector: type[Anything] | None = None
    fault: ConnectorUnusable | None = None

    @classmethod
    def of(cls, name: str) -> Self:
        """Load the connector of this name; keep the error."""
        try:
            return cls(find(name).load())
        except ConnectorUnusable as error:
            return cls(fault=error)


def reasons() -> dict[str, Reason]:
    """All tokens of the loadable connectors, with their texts."""
    found: dict[str, Reason] = {}
    for name, words in _words():
        for token, known in words.items():
            found[token] = found.get(token, known).said_by(name)
    return found


def reason(token: str) -> Reason | None:
    """Find a token's texts in the first connector that has it; load no further ones."""
    return next((words[token] for _, words in _words() if token in words), None)


def package_of(connector: type[Anything]) -> str:
    """The distribution of a connector's class, with its version."""
    for each in installed().values():
        if Choice.of(each.name).connector is connector:
            return each.package
    return connector.__module__


def _words() -> Iterator[tuple[str, Mapping[str, Reason]]]:
    """Each loadable connector's name and tokens, loaded one at a time."""
    for name in installed():
        connector = Choice.of(name).connector
        if connector is not None:
            yield name, connector.reasons


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else point.module


_NEEDED: Final = ("batch_size", "verb_s_max")
"""Required of a section, whatever the target: see `ConnectorSettings`."""


@cache
def _load(one: Installed) -> type[Anything]:
    if len(one.points) > 1:
        raise ConnectorUnusable(
            f"the connector {one.name!r} is in several packages: {one.package}",
            remedy="Uninstall all but one of them, and restart.",
        )
    where = f"the connector {one.name!r} ({one.package}, {one.points[0].value})"
    try:
        found = one.points[0].load()
    except NotInstalled as error:
        raise ConnectorUnusable(f"{where}: {error}", remedy=error.remedy) from error
    except Exception as error:  # third-party code: whatever it raises, the other targets continue
        said = f"{fault(error)}: {error}" if isinstance(error, ImportError) else fault(error)
        raise ConnectorUnusable(
            f"{where} cannot be imported: {said}",
            remedy="Install what it needs, or another version of its package; then restart.",
        ) from error
    if wrong := _wrong(one.name, found):
        raise ConnectorUnusable(
            f"{where} is no connector: {wrong}",
            remedy="Its author mends it: see docs/how-to/write-a-connector.md.",
        )
    connector: type[Anything] = found
    return connector


def _wrong(name: str, found: object) -> str:
    """The first requirement of connectors that a class misses; empty: none."""
    if _NAME.fullmatch(name) is None:
        return "its name is not of lower-case letters, digits and underscores"
    if not (isinstance(found, type) and issubclass(found, Connector)):
        return "it is not a subclass of consumers.kit.connector.Connector"
    if missing := sorted(found.__abstractmethods__):
        return f"it has no {missing[0]}"
    if found.level is not None and found.level not in get_args(Level):
        return f"its level {found.level!r} is none"
    section = getattr(found, "section", None)
    if not (isinstance(section, type) and issubclass(section, ConnectorSettings)):
        return "its section is not a subclass of consumers.kit.settings.ConnectorSettings"
    if lacking := [
        each for each in _NEEDED if each not in section.model_fields and not hasattr(section, each)
    ]:
        return f"its section has no {lacking[0]}"
    title = getattr(found, "title", {})
    if lacking := [language for language in LANGUAGES if not title.get(language)]:
        return f"its title has no {lacking[0]}"
    return ""
