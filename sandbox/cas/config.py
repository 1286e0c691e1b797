"""The CAS server's configuration, one file that its process reads at its start."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from sandbox.slapd import Slapd

RELEASED = ("uid", "mail", "displayName", "supannEtuId", "eduPersonAffiliation")
"""Attributes that a service gets with a validated ticket, by default."""


@dataclass(frozen=True, slots=True)
class CasDirectory:
    """The directory that finds people and lets them in, by a bind as themselves.

    `uri` is `ldaps://host:port`: the server knows no StartTLS. `bind_dn` may search people; `ca_file`
    verifies the directory; the password's file has no line end.
    """

    uri: str
    base_dn: str
    ca_file: str
    bind_dn: str
    bind_password_file: str

    @classmethod
    def of(cls, slapd: Slapd) -> Self:
        """The sandbox's own directory, as its login server's account sees it."""
        return cls(
            uri=slapd.ldaps_uri,
            base_dn=slapd.people_dn,
            ca_file=str(slapd.ca_file),
            bind_dn=slapd.cas_dn,
            bind_password_file=str(slapd.cas_password_file),
        )


@dataclass(frozen=True, slots=True)
class Service:
    """A service that may send people here to log in.

    Attributes:
        pattern: regular expression of the service's addresses.
        attributes: released with a validated ticket.
        only_if: attribute to regular expression: people without such a value are refused at this service.
    """

    name: str
    pattern: str
    attributes: tuple[str, ...] = RELEASED
    only_if: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Config:
    """Everything. `folder` has database, certificate and secret key; `forgotten_url`: for a lost password."""

    folder: str
    port: int
    directory: CasDirectory
    services: tuple[Service, ...]
    forgotten_url: str = ""

    def write(self, path: Path) -> None:
        """Write the file."""
        path.write_text(json.dumps(asdict(self), indent=2), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read it back."""
        document = json.loads(path.read_text(encoding="utf-8"))
        services = tuple(
            Service(**(each | {"attributes": tuple(each["attributes"])})) for each in document.pop("services")
        )
        return cls(directory=CasDirectory(**document.pop("directory")), services=services, **document)
