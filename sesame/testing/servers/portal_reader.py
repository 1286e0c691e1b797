"""A reader of the students' pages: its mail, and a browser that runs no script."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from email.message import EmailMessage

import httpx

MAIL = "lea.martin@perso.example"
GOOD = "Tournesol-42!Zèbre"


@dataclass
class Letter:
    """One message, as its reader sees it."""

    message: EmailMessage

    @property
    def text(self) -> str:
        part = self.message.get_body(("plain",))
        assert part is not None
        return str(part.get_content())

    @property
    def html(self) -> str:
        part = self.message.get_body(("html",))
        assert part is not None
        return str(part.get_content())

    @property
    def code(self) -> str:
        """The code, as it is written: in two groups."""
        found = re.search(r"^(\d{3} \d{3})\s*$", self.text, re.MULTILINE)
        assert found is not None, self.text
        return found[1]

    @property
    def link(self) -> str:
        found = re.search(r"https?://\S+", self.text)
        assert found is not None, self.text
        return found[0]


@dataclass
class Browser:
    """Follows links and sends forms, as a page without scripts does."""

    client: httpx.Client
    page: httpx.Response = field(init=False)

    def get(self, path: str) -> httpx.Response:
        self.page = self.client.get(path)
        return self.page

    def send(self, action: str, **fields: str) -> httpx.Response:
        """Send the form of the present page that goes there."""
        form = re.search(rf'<form method="post" action="{action}".*?</form>', self.page.text, re.DOTALL)
        assert form is not None, f"no form to {action} on {self.page.url}:\n{self.page.text[:3000]}"
        hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form[0]))
        self.page = self.client.post(action, data={**hidden, **fields}, headers={"Origin": self.origin})
        return self.page

    @property
    def origin(self) -> str:
        return str(self.client.base_url).rstrip("/")

    def ask(self, number: str, mail: str = MAIL) -> httpx.Response:
        """Request a message."""
        self.get("/")
        return self.send("/demande", numero=number, courriel=mail)

    def choose(
        self, password: str = GOOD, *, again: str | None = None, charter: bool = True
    ) -> httpx.Response:
        more = {"charte": "oui"} if charter else {}
        return self.send(
            "/mot-de-passe", mot_de_passe=password, confirmation=password if again is None else again, **more
        )
