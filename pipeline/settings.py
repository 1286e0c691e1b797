"""The base of every settings section: immutable, reads its secrets from files."""

from __future__ import annotations

import stat
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, get_args
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, JsonValue, SecretStr, StringConstraints, model_validator
from pydantic.fields import FieldInfo

from pipeline.errors import SesameError, system_words
from schemas.language import gettext

FILE_SUFFIX = "_file"
"""A secret `x` may be given as the setting `x`, or as `x_file`: the path of a file that holds it alone."""

ADVANCED: Final[dict[str, JsonValue]] = {"advanced": True}
"""`json_schema_extra` of a bound of the machinery, which few sites change: the reference shows it apart."""

CA_FILE = "Certificates (PEM) that the server's one is verified with. Without it: those of the system."

HttpsUrl = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/?#]+[^\s?#]*$", max_length=2048)]
Address = Annotated[str, StringConstraints(pattern=r"^[^@\s<>]+@[^@\s<>]+$", max_length=254)]
TargetName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,30}$")]
Seconds = Annotated[float, Field(gt=0, le=3600)]
Mode = Literal["write", "observe"]

MODE = (
    "`write`, or `observe`: say what would be written, and write nothing. No account is complete while one "
    "of its targets is only observed."
)

_SECRET_BYTES_MAX = 65_536


class SettingsError(SesameError):
    """The settings cannot be used. The lines below say which one, where it was read, and what it may be."""

    exit_code = 2
    remedy = "docs/reference/settings.md lists every setting; `sesame settings check` reads them all again."


class SecretUnreadable(SettingsError):
    """A secret is missing, or its file cannot be read or can be read by everybody. Create it with mode 0600,
    owned by the user that runs Sésame."""


class Section(BaseModel):
    """One section of the settings."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        hide_input_in_errors=True,
        defer_build=True,  # the settings build their sections, once: a seventh of a command's time
    )
    place: ClassVar[str] = ""

    @classmethod
    def secrets(cls) -> tuple[str, ...]:
        """The names of the fields that are secrets."""
        return tuple(name for name, field in cls.model_fields.items() if _is_secret(field.annotation))

    @model_validator(mode="after")
    def _secret_given_once(self) -> Section:
        for name in self.secrets():
            if getattr(self, name) is not None and getattr(self, name + FILE_SUFFIX) is not None:
                file = name + FILE_SUFFIX
                raise ValueError(
                    gettext("{one} and {other} are both set: keep one of them", one=name, other=file)
                )
        return self

    def has_secret(self, name: str) -> bool:
        """Return whether a value or a file (which may not exist) sets the secret `name`."""
        return getattr(self, name) is not None or getattr(self, name + FILE_SUFFIX) is not None

    def secret(self, name: str) -> SecretStr:
        """Return the secret `name`, read now if a file sets it, without final line breaks.

        Raises:
            SecretUnreadable: it is not set, or its file is missing, unreadable, empty, or open to all users.
        """
        value: SecretStr | None = getattr(self, name)
        path: Path | None = getattr(self, name + FILE_SUFFIX)
        key = f"{self.place}.{name}".lstrip(".")
        if value is not None:
            return value
        if path is None:
            variable = "SESAME_" + key.upper().replace(".", "__") + FILE_SUFFIX.upper()
            raise SecretUnreadable(
                gettext("{key} is not set", key=key),
                remedy=gettext(
                    "Write it into a file of mode 0600, named by {key} or {variable}.",
                    key=f"{key}{FILE_SUFFIX}",
                    variable=variable,
                ),
            )
        return SecretStr(read_secret(path, f"{key}{FILE_SUFFIX}"))


class TargetSection(Section):
    """The section of a target: what `targets` may name."""


def is_advanced(field: FieldInfo) -> bool:
    """Return whether the reference lists this setting apart: few sites change it."""
    return isinstance(field.json_schema_extra, dict) and bool(field.json_schema_extra.get("advanced"))


def read_secret(path: Path, key: str) -> str:
    """Return the content of a secret's file, which setting `key` names. No final line break.

    Raises:
        SecretUnreadable: missing, unreadable, empty, too large, or its mode lets all users read it.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(path.stat().st_mode)
            content = file.read(_SECRET_BYTES_MAX + 1)
    except OSError as error:
        reason = system_words(error).lower()
        raise SecretUnreadable(
            gettext("{key}: {path} cannot be read: {why}", key=key, path=path, why=reason),
            remedy=gettext("Create it with mode 0600, owned by the user that runs Sésame."),
        ) from error
    if mode & stat.S_IRWXO:
        raise SecretUnreadable(
            gettext(
                "{key}: {path} is open to every user of this machine (mode {mode})",
                key=key,
                path=path,
                mode=f"{mode:04o}",
            ),
            remedy=gettext("chmod o= {path}, and change the secret if others may have read it.", path=path),
        )
    try:
        text = content.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        text = ""
    if not text or len(content) > _SECRET_BYTES_MAX:
        raise SecretUnreadable(
            gettext("{key}: {path} is empty, not text, or too large for a secret", key=key, path=path),
            remedy=gettext("The file holds the secret and nothing else."),
        )
    return text


def tls(name: str, url: str) -> None:
    """Reject, by ValueError, an address that holds a secret or would send it in clear."""
    parts = urlsplit(url)
    if parts.username or parts.password:
        raise ValueError(
            gettext("{name} must not carry a name or a password: it is shown and logged", name=name)
        )
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise ValueError(gettext("{name} must begin with https://: a secret is sent there", name=name))


def is_loopback(host: str) -> bool:
    """Whether this names the machine itself."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _is_secret(annotation: Any) -> bool:
    return annotation is SecretStr or SecretStr in get_args(annotation)
