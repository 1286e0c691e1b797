"""The style sheet, the script and the pictures, under names that change with them.

So browsers cache them without limit, and a new version's pages never meet an old version's script. The
university's colour and logo, named in the settings, are among them.
"""

from __future__ import annotations

import hashlib
import mimetypes
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

from fastapi import Response
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from pipeline.errors import SesameError
from sesame.settings.color import NIGHT, legible
from sesame.settings.portal import PortalSettings

STATIC_FOLDER: Final = Path(__file__).with_name("static")
STATIC_PATH: Final = "/static"
STYLES: Final = ("console.css", "portal.css")
"""Each begins with the colours: `tokens.css`."""
_FOR_GOOD: Final = "public, max-age=31536000, immutable"
_FINGERPRINT: Final = re.compile(r"\.[0-9a-f]{12}(?=\.\w+$)")
LOGO_BYTES_MAX: Final = 32 * 1024
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_ACTING: Final = frozenset(
    {"script", "foreignobject", "iframe", "embed", "object", "audio", "video", "handler"}
)


class Assets:
    """Serves them under `path`. Another version's name gets this version's file, which is not cached.

    Raises `LogoUnusable`: the logo of `portal` cannot be shown.
    """

    def __init__(self, portal: PortalSettings, path: str = STATIC_PATH) -> None:
        self._path = path
        self.files = {path.name: path.read_bytes() for path in sorted(STATIC_FOLDER.iterdir())}
        tokens = _brand(portal.color).encode() + self.files.pop("tokens.css")
        for name in STYLES:
            self.files[name] = tokens + self.files[name]
        self.files["icon.svg"] = self.files["icon.svg"].replace(b"#brand", portal.color.encode())
        logo = None if portal.logo_file is None else read_logo(portal.logo_file)
        if logo is not None:
            self.files[f"logo{logo.suffix}"] = logo.content
        self._addresses = {name: _address(path, name, content) for name, content in self.files.items()}
        self.logo = None if logo is None else self.address(f"logo{logo.suffix}")

    def address(self, name: str) -> str:
        """The address of this file: `/static/portal.1f2e3d4c5b6a.css`. Raises KeyError."""
        return self._addresses[name]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request (ASGI).

        Raises:
            HTTPException: there is no such file, or the method is not GET or HEAD.
        """
        request = Request(scope, receive)
        if request.method not in ("GET", "HEAD"):
            raise HTTPException(405)
        name = _FINGERPRINT.sub("", request.url.path.removeprefix(f"{self._path}/"))
        content = self.files.get(name)
        if content is None:
            raise HTTPException(404)
        kept = self.address(name) == request.url.path
        response = Response(
            b"" if request.method == "HEAD" else content,
            media_type=mimetypes.guess_type(name)[0],
            headers={"Cache-Control": _FOR_GOOD if kept else "no-cache", "Content-Length": str(len(content))},
        )
        await response(scope, receive, send)


def _address(path: str, name: str, content: bytes) -> str:
    stem, _, suffix = name.rpartition(".")
    return f"{path}/{stem}.{hashlib.sha256(content).hexdigest()[:12]}.{suffix}"


def _brand(color: str) -> str:
    """The colour as tokens of the style sheet; text on it has the paper's colour."""
    night = legible(color, NIGHT)
    return f":root{{--brand-day:{color};--brand-night:{night}}}\n"


class LogoUnusable(SesameError):
    """The file of `portal.logo_file` cannot be shown as a logo."""

    remedy = "Name an SVG file without scripts, or a PNG file, of 32 KiB at most, in portal.logo_file."


@dataclass(frozen=True)
class Logo:
    """A logo's bytes, and the end of its name: `.svg` or `.png`."""

    content: bytes
    suffix: str


def read_logo(path: Path) -> Logo:
    """Read a logo's file.

    Raises:
        LogoUnusable: it cannot be read, is too large, is neither SVG nor PNG, or holds more than a picture:
            scripts, handlers of events, or what is fetched from elsewhere.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LOGO_BYTES_MAX + 1)
    except OSError as error:
        raise LogoUnusable(f"the logo {path} cannot be read: {error.strerror}") from error
    if len(content) > LOGO_BYTES_MAX:
        raise LogoUnusable(f"the logo {path} has more than {LOGO_BYTES_MAX // 1024} KiB")
    if content.startswith(_PNG):
        return Logo(content, ".png")
    try:
        # Expat fetches nothing, and gives up on entities that multiply (its defence since 2.4.1).
        root = ET.fromstring(content)  # noqa: S314 - the operator's own file, and small
    except (ET.ParseError, ValueError) as error:
        raise LogoUnusable(f"the logo {path} is neither SVG nor PNG") from error
    if _local(root.tag) != "svg":
        raise LogoUnusable(f"the logo {path} is no SVG: it begins with <{_local(root.tag)}>")
    _only_a_picture(path, root)
    return Logo(content, ".svg")


def _only_a_picture(path: Path, root: ET.Element) -> None:
    for element in root.iter():
        tag = _local(element.tag)
        if tag in _ACTING:
            raise LogoUnusable(f"the logo {path} holds <{tag}>, which is more than a picture")
        for name, value in element.attrib.items():
            attribute, target = _local(name), "".join(value.split()).casefold()
            if attribute.startswith("on"):
                raise LogoUnusable(f"the logo {path} holds {attribute}, which is a script")
            if attribute == "href" and not target.startswith(("#", "data:image/png", "data:image/jpeg")):
                raise LogoUnusable(f"the logo {path} fetches something from elsewhere: {value[:80]}")


def _local(name: object) -> str:
    """An XML name without namespace, in lower case; empty for comments and the like."""
    return name.rpartition("}")[2].casefold() if isinstance(name, str) else ""
