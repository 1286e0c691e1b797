"""Where Pégase's APIs are, and as whom they are called."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, ClassVar, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from pydantic import Field, SecretStr, StringConstraints

from pipeline.settings import ADVANCED, Section, SettingsError, tls
from schemas.language import gettext

MODULE: Final = "{module}"
"""Place of the module's name (`ins`, `chc`, `authn-app`) in the address."""

Establishment = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9-]{1,16}$")]
Period = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9-]{0,40}20[0-9]{2}[A-Z0-9-]{0,40}$")]


_YEAR: Final = re.compile(r"20[0-9]{2}")
_FORM: Final = "https://USER:PASSWORD@{module}.INSTANCE.pc-scol.fr"


def year_of(period: str) -> int:
    """The academic year that a period's code names."""
    found = _YEAR.search(period)
    assert found is not None  # noqa: S101  (`Period` has one)
    return int(found[0])


class Instance(NamedTuple):
    """An instance: its modules' address with `MODULE` in it, and the account."""

    url: str
    username: str
    password: str

    def address(self, module: str) -> str:
        """Where this module is."""
        return self.url.replace(MODULE, module)

    def __repr__(self) -> str:
        """Without the password."""
        return f"Instance({self.url!r})"


class PegaseSettings(Section):
    """Enrolments read from Pégase every 30 seconds."""

    place: ClassVar[str] = "pegase"

    url: SecretStr | None = None
    url_file: Path | None = Field(
        None,
        description="File that holds the modules' address with the service account, "
        "`https://USER:PASSWORD@{module}.INSTANCE.pc-scol.fr`; `{module}` stays as it is. Without it: none.",
    )
    periods: dict[Establishment, tuple[Period, ...]] = Field(
        default_factory=dict,
        description='Periods whose groups are read, by establishment: `{ETAB00 = ["PER-2026"]}`. Each code '
        "names its year. Without any, no groups are read.",
        json_schema_extra=ADVANCED,
    )

    @property
    def is_set(self) -> bool:
        """Whether there is a Pégase."""
        return self.has_secret("url")

    def instance(self) -> Instance:
        """The address and the account, read now.

        Raises:
            SecretUnreadable: there is none, or its file cannot be read.
            SettingsError: it is no such address.
        """
        try:
            parts = urlsplit(self.secret("url").get_secret_value())
            host = parts.netloc.rpartition("@")[2]
            url = f"{parts.scheme}://{host}{parts.path}".rstrip("/")
            tls("it", url)
        except ValueError as error:
            raise _not_usable(str(error)) from error
        if not (parts.username and parts.password and host and MODULE in url):
            raise _not_usable(gettext("not an address with USER:PASSWORD@ and {module}", module=MODULE))
        return Instance(url, unquote(parts.username), unquote(parts.password))


def _not_usable(why: str) -> SettingsError:
    return SettingsError(
        gettext("pegase.url: {why}", why=why),
        remedy=gettext("Write {url}, signs of the password as in any address (@ is %40).", url=_FORM),
    )
