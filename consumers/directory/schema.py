"""The server's schema: SupAnn's edition, and whether our attributes are in it.

Source: RFC 4512, section 4.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from consumers.directory.entry import OWNED, classes_of, federation_of
from consumers.directory.objects import texts
from pipeline.errors import Misconfigured
from schemas.language import gettext

if TYPE_CHECKING:  # it loads an LDAP library
    from consumers.directory.settings import DirectorySettings
    from consumers.kit.ldap_patience import PatientLdapClient

_SUPANN: Final = re.compile(r"\(\s*1\.3\.6\.1\.4\.1\.7135\.1\.2\.1\.([0-9]+)\s")
_OF_2018: Final = 65
"""SupAnn 2018 rev. 2 has the attributes 1 to 65 of its arc (ops/ldap/supann-attributes.tsv)."""

_NAME: Final = re.compile(r"NAME\s+(?:'([^']*)'|\(([^)]*)\))")


@dataclass(frozen=True)
class ServerSchema:
    """A schema's content.

    Attributes:
        names: of attributes and classes, in lower case.
        supann: the numbers of SupAnn's attributes.
    """

    names: frozenset[str]
    supann: frozenset[int]

    @property
    def edition(self) -> str:
        """SupAnn's edition, in words."""
        lacking = _OF_2018 - len(self.supann & set(range(1, _OF_2018 + 1)))
        if lacking:
            return gettext(
                "SupAnn before 2018 rev. 2: {n} of its {all} attributes are missing", n=lacking, all=_OF_2018
            )
        if max(self.supann) > _OF_2018:
            return gettext("SupAnn 2018 rev. 2 or later")
        return "SupAnn 2018 rev. 2"


def read_schema(client: PatientLdapClient) -> ServerSchema | None:
    """The server's schema; None: it shows us none. Raises TargetDown or Misconfigured."""
    root = client.had(partial(client.entry, "", ["subschemaSubentry"])) or {}
    where = next(iter(texts(root, "subschemaSubentry")), "")
    raw = client.had(partial(client.entry, where, ["attributeTypes", "objectClasses"])) if where else None
    attributes = texts(raw or {}, "attributeTypes")
    if not attributes:
        return None
    names = frozenset(_names((*attributes, *texts(raw or {}, "objectClasses"))))
    numbers = (found for each in attributes if (found := _SUPANN.match(each)))
    return ServerSchema(names, frozenset(int(found[1]) for found in numbers))


def check_schema(schema: ServerSchema, settings: DirectorySettings) -> None:
    """Raise Misconfigured if the schema lacks what is written to entries."""
    wanted = (*OWNED, *federation_of(settings), *classes_of(settings))
    lacking = [name for name in wanted if name.lower() not in schema.names]
    if not lacking:
        return
    remedy = (
        gettext("Load ops/ldap/schac.schema, or the published SCHAC, or remove directory.federation.")
        if all(name.startswith("schac") for name in lacking)
        else gettext("Load the schemas of ops/ldap, or the published SupAnn and eduPerson and sesame.schema.")
    )
    what = gettext("the directory's schema lacks {names}", names=", ".join(lacking))
    raise Misconfigured(what, remedy=remedy)


def _names(definitions: Iterable[str]) -> Iterable[str]:
    for each in definitions:
        if found := _NAME.search(each):
            several = re.findall(r"'([^']*)'", found[2] or "")
            yield from (name.lower() for name in several or [found[1]])
