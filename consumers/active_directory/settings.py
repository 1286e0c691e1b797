"""Active Directory's settings: its address, our account, and the OUs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, SecretStr, StringConstraints, field_validator

from consumers.kit.settings import BatchSize, Dn, LdapUri, PlainPasswordSettings
from pipeline.settings import ADVANCED
from schemas.language import gettext

Suffix = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]+([.][A-Za-z0-9-]+)*$", max_length=253)]


class ActiveDirectorySettings(PlainPasswordSettings):
    """Active Directory."""

    place: ClassVar[str] = "active_directory"

    uri: LdapUri = Field(
        description="A domain controller that takes writes: `ldaps://HOST:PORT`, or `ldap://…` with StartTLS."
    )
    bind_dn: Dn = Field(
        description="Sésame's own account in the domain. It needs rights on the two OUs only."
    )
    bind_password: SecretStr | None = None
    bind_password_file: Path | None = Field(None, description="File that holds its password.")
    users_dn: Dn = Field(description="The OU in which new users are made.")
    groups_dn: Dn | None = Field(
        None, description="The OU of the groups that Sésame makes and fills. Unset: it touches no group."
    )
    upn_suffix: Suffix | None = Field(
        None,
        description="What follows the @ in userPrincipalName: a suffix that the forest knows. Unset: that "
        "of the student's principal name.",
    )
    number_attribute: Literal["employeeID", "employeeNumber"] = Field(
        "employeeID",
        description="The attribute that carries the student number. `employeeID` takes 16 characters.",
        json_schema_extra=ADVANCED,
    )
    password_expires: bool = Field(
        False,
        description="Whether the domain's maximum password age applies to new users: Sésame's own passwords "
        "do not expire.",
        json_schema_extra=ADVANCED,
    )
    batch_size: BatchSize = 20

    @property
    def system(self) -> str:
        """See `ConnectorSettings.system`."""
        return f"Active Directory {self.uri.rstrip('/')}"

    @property
    def domain_dn(self) -> str:
        """The domain's name: the `DC` components of `users_dn`."""
        parts = [part.strip() for part in self.users_dn.split(",")]
        return ",".join(part for part in parts if part.upper().startswith("DC="))

    @property
    def verb_s_max(self) -> float:
        """The longest time of one exchange, in seconds: connection, TLS, bind and answer."""
        return self.connect_timeout_s + 3 * self.timeout_s

    @field_validator("users_dn", "groups_dn")
    @classmethod
    def _in_a_domain(cls, dn: str | None) -> str | None:
        if dn is not None and not re.search(r",\s*DC=", dn, re.IGNORECASE):
            raise ValueError(gettext("is in no domain: an OU's name ends with DC=…"))
        return dn
