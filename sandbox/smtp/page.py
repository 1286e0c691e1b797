"""A page that shows the kept messages: `python -m sandbox.smtp.page --port P --messages FOLDER`.

On loopback, for the demo: whoever plays a student reads the code here.
"""

from __future__ import annotations

import argparse
import re
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from functools import partial
from html import escape
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from sandbox.http_server import HttpServer, add_arguments, serve_until_told

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_STYLE = "body{max-width:48rem;margin:2rem auto;padding:0 1rem;font:1.0625rem/1.5 system-ui,sans-serif}"
_PAGE = (
    '<!DOCTYPE html>\n<html lang="fr"><head><meta charset="utf-8"><title>{title}</title>'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    "<style>:root{{color-scheme:light dark}}{style}</style></head>\n<body><main>{body}</main></body></html>\n"
)


class MessagesPage(BaseHTTPRequestHandler):
    """`/`: all messages, the newest first; `/NAME`: one of them, as its reader sees it."""

    def __init__(self, folder: Path, *args: Any) -> None:
        self._folder = folder
        super().__init__(*args)

    def do_GET(self) -> None:
        """Answer with the list, a message, or 404."""
        name = self.path.strip("/")
        file = self._folder / f"{name}.eml"
        if not name:
            self._answer(self._all())
        elif re.fullmatch(r"[0-9-]+", name) and file.is_file():
            self._answer(_readable(_message(file)))
        else:
            self._answer(_page("Aucun message à cette adresse", ""), HTTPStatus.NOT_FOUND)

    def log_message(self, *_: object) -> None:
        """Write no line for a request."""

    def _all(self) -> str:
        rows = [
            f'<li><a href="/{file.stem}">{escape(str(message["Subject"]))}</a><br>'
            f"à {escape(str(message['X-Envelope-To']))}</li>"
            for file in sorted(self._folder.glob("*.eml"), reverse=True)
            for message in [_message(file)]
        ]
        listed = f"<ol reversed>{''.join(rows)}</ol>" if rows else "<p>Aucun message pour l’instant.</p>"
        return _page("Messages envoyés", f'<p><a href="/">Actualiser</a></p>{listed}')

    def _answer(self, page: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        body = page.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", _POLICY)
        self.end_headers()
        self.wfile.write(body)


def _message(file: Path) -> EmailMessage:
    return message_from_bytes(file.read_bytes(), _class=EmailMessage, policy=default)


def _readable(message: EmailMessage) -> str:
    """The HTML part, or the text with its addresses as links."""
    part = message.get_body(("html", "plain"))
    content = "" if part is None else str(part.get_content())
    if part is not None and part.get_content_subtype() == "html":
        return content
    linked = re.sub(r"(https?://[^\s<]+)", r'<a href="\1">\1</a>', escape(content))
    return _page(str(message["Subject"]), f'<pre style="white-space:pre-wrap">{linked}</pre>')


def _page(title: str, body: str) -> str:
    heading = escape(title)
    return _PAGE.format(title=heading, style=_STYLE, body=f"<h1>{heading}</h1>{body}")


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.smtp.page", description=__doc__)
    add_arguments(parser)
    parser.add_argument("--messages", type=Path, required=True)
    options = parser.parse_args()
    handler: Any = partial(MessagesPage, options.messages)
    serve_until_told(HttpServer(options.port, handler, None))


if __name__ == "__main__":
    main()
