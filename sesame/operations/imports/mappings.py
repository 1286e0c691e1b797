"""Mapping files that are made by matching a file's columns with the expected ones."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Annotated, Final, NamedTuple

from pydantic import BaseModel, Field

from producers.registrar.headers import folded, nearest
from producers.registrar.mapping import FIELDS, MappingUnusable, read_mapping
from producers.registrar.profile import FeedProfile, FileForm
from producers.registrar.profiles import PROFILES, apogee, apogee_groups, choose, choose_groups
from sesame.acts import acts
from sesame.acts.acts import OFFICE, Actor, act
from sesame.acts.ports import Configured, HasSettings

_ENDING = ".toml"
_USUAL: Final[Mapping[str, Sequence[str]]] = {
    "student_number": ("N° étudiant", "Numéro étudiant", "Code étudiant"),
    "birth_name": ("Nom de naissance", "Nom de famille", "Nom"),
    "usage_name": ("Nom d'usage",),
    "given_name": ("Prénom", "Prénom 1"),
    "birth_date": ("Date de naissance", "Né(e) le"),
    "personal_mail": ("Adresse personnelle", "Mail personnel", "Courriel"),
    "mobile": ("Téléphone portable", "Portable", "Mobile"),
    "year": ("Année universitaire", "Année"),
    "step": ("Étape", "Code étape"),
    "component": ("Composante",),
}
"""What offices call these columns."""


class FieldMatch(NamedTuple):
    """One field and the file's column that is most likely its own.

    `expected`: the profile's column; `words`: its values, if it takes no others.
    """

    field: str
    required: bool
    expected: str
    found: str
    words: tuple[str, ...]


class MappingRequest(BaseModel):
    """A mapping to save.

    Attributes:
        name: of the feed; an earlier mapping of this name is replaced.
        profile: whose codes are kept: a name for `profile_of`.
        columns: by field, the file's column.
        constants: by field, the value on every line.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
    profile: str
    columns: Mapping[str, str]
    constants: Mapping[str, str]


def saved(site: HasSettings) -> list[str]:
    """The names of the saved mappings."""
    return sorted(path.stem for path in _folder(site).glob(f"*{_ENDING}"))


def which(site: HasSettings, name: str) -> str | None:
    """The name of a built-in profile, or a mapping's path; None: the settings'."""
    if name in saved(site):
        return str(_folder(site) / f"{name}{_ENDING}")
    return name if name in PROFILES else None


def profile_of(site: HasSettings, name: str) -> FeedProfile:
    """The profile of enrolments of this name; empty: the settings'. Raises as `profiles.choose`."""
    settings = site.settings.registrar
    chosen = which(site, name) or settings.mapping or settings.profile
    payment, one_name = settings.payment_required, settings.one_name
    return choose(chosen, payment_required=payment, one_name=one_name)


def matches(profile: FeedProfile, header: Sequence[str]) -> list[FieldMatch]:
    """Every field, with the columns that are most likely its own."""
    by_name = {folded(name): name for name in header}
    taken = {by_name.get(folded(name)) for each in profile.columns for name in each.names}
    found = []
    for field, (required, words) in FIELDS.items():
        expected = profile.column_of(field)
        left = [name for name in header if name not in taken]
        names = [expected, *_USUAL.get(field, ())]
        same = next((by_name[folded(name)] for name in names if folded(name) in by_name), "")
        likely = same or next(filter(None, (nearest(name, left) for name in names if name)), "")
        found.append(FieldMatch(field, required, expected, likely, words))
    return found


def template(site: HasSettings, *, groups: bool = False) -> tuple[str, ...]:
    """The columns that the settings expect; Apogée's, if those of no table."""
    settings = site.settings.registrar
    if groups:
        profile = choose_groups(settings.groups_mapping or settings.mapping or settings.profile)
    else:
        profile = profile_of(site, "")
    if profile.form is FileForm.JSON_LINES:
        profile = apogee_groups() if groups else apogee()
    return profile.column_names


@act("import.mapping", OFFICE)
def save(site: Configured, actor: Actor, request: MappingRequest) -> None:
    """Save a mapping file, for this import and later ones; audited.

    Raises:
        MappingUnusable: nothing was saved.
    """
    folder, profile = _folder(site), profile_of(site, request.profile)
    folder.mkdir(mode=0o700, exist_ok=True)
    with NamedTemporaryFile("w", encoding="utf-8", dir=folder, suffix=".new", delete=False) as file:
        file.write(_toml(request, profile))
    made, name = Path(file.name), f"{request.name}{_ENDING}"
    try:
        read_mapping(made)
        acts.note(site.database, actor, "import.mapping", name=request.name, columns=dict(request.columns))
        made.replace(folder / name)
    except MappingUnusable as error:
        raise MappingUnusable(str(error).replace(str(made), name)) from error
    finally:
        made.unlink(missing_ok=True)


def _folder(site: HasSettings) -> Path:
    return site.settings.data_dir / "mappings"


def _toml(request: MappingRequest, profile: FeedProfile) -> str:
    codes = {each.field: each.values for each in profile.columns if each.values}
    paid = profile.payment_required and "payment" in request.columns
    lines = [
        f"name = {_quoted(request.name)}",
        f"payment_required = {str(paid).lower()}",
        f"one_name = {str(profile.one_name).lower()}",
        "[fields]",
    ]
    for field, column in request.columns.items():
        parts = [f"column = {_quoted(column)}"]
        if known := codes.get(field):
            words = ", ".join(f"{_quoted(word)} = {_quoted(means)}" for word, means in known.items())
            parts.append(f"values = {{ {words} }}")
        lines.append(f"{field} = {{ {', '.join(parts)} }}")
    lines += [f"{field} = {{ constant = {_quoted(text)} }}" for field, text in request.constants.items()]
    return "\n".join([*lines, ""])


def _quoted(text: str) -> str:
    """A basic string of TOML; JSON's escapes are its own."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
