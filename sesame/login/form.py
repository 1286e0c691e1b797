"""Parses pages for a login or an activation: forms and their hidden fields."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser


@dataclass(slots=True)
class LoginForm:
    """A form, with every hidden field of it."""

    action: str = ""
    hidden: dict[str, str] = field(default_factory=dict)
    asks_password: bool = False


def login_form(text: str) -> LoginForm | None:
    """The form of a login page; None: it has none with a password."""
    return next((form for form in _forms(text) if form.asks_password), None)


def onward_form(text: str) -> LoginForm | None:
    """The form of a page between login and ticket, if it is one. Apereo: before a password expires."""
    forms = _forms(text)
    if any(form.asks_password for form in forms):
        return None
    return next((form for form in forms if form.hidden.get("_eventId") == "proceed"), None)


def form_to(text: str, action: str) -> LoginForm | None:
    """The form of a page that is sent to this address; None: it has none."""
    return next((form for form in _forms(text) if form.action == action), None)


def _forms(text: str) -> list[LoginForm]:
    reader = _Reader()
    reader.feed(text)
    return reader.forms


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.forms: list[LoginForm] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(LoginForm(action=given.get("action", "")))
        elif tag == "input" and self.forms:
            kind = given.get("type", "text").lower()
            form = self.forms[-1]
            form.asks_password = form.asks_password or kind == "password"
            if kind == "hidden" and given.get("name"):
                form.hidden[given["name"]] = given.get("value", "")
