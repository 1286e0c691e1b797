"""Messages to students' personal addresses, in French or English."""

from __future__ import annotations

import secrets
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from email.message import EmailMessage
from typing import Any, Final

from pipeline.letters import Letterhead, in_ascii, mailbox, texts
from producers.activation.proofs import PASSWORD
from producers.activation.sms import code_text
from schemas.account import is_students
from schemas.language import Language
from schemas.typography import NO_BREAK, spaced
from schemas.typography import day as written_day


def canonical(mail: str) -> str:
    """The address in its form for comparison: without case, as mail servers treat it."""
    return in_ascii(unicodedata.normalize("NFC", mail).strip().casefold())


LINK_PATHS: Final = {
    "password": "/lien/",
    "redirect": "/redirection/",
    "changed": "/",
    "redirected": "/",
    "printed": "/",
    "ending": "/",
    "invited": "/",
    "prolonged": "/prolongation/",
}
_SUBJECTS: Final = {
    ("activation", "fr"): "Activez votre compte universitaire",
    ("activation", "en"): "Activate your university account",
    ("password", "fr"): "Votre mot de passe universitaire",
    ("password", "en"): "Your university password",
    ("changed", "fr"): "Le mot de passe de votre compte universitaire a changé",
    ("changed", "en"): "The password of your university account was changed",
    ("redirected", "fr"): "Votre messagerie universitaire est redirigée",
    ("redirected", "en"): "Your university mail is being sent on",
    ("printed", "fr"): "Une lettre avec un code vient d'être imprimée pour vous",
    ("printed", "en"): "A letter with a code was just printed for you",
    ("ending", "fr"): "Votre compte universitaire sera fermé après le {last_day}",
    ("ending", "en"): "Your university account closes after {last_day}",
    ("prolonged", "fr"): "Votre compte universitaire sera fermé après le {last_day}",
    ("prolonged", "en"): "Your university account closes after {last_day}",
    ("guest", "fr"): "Votre accès d'invité se termine après le {last_day}",
    ("guest", "en"): "Your access as a guest ends after {last_day}",
    ("sponsor", "fr"): "L'accès de votre invité se termine après le {last_day}",
    ("sponsor", "en"): "Your guest's access ends after {last_day}",
    ("invited", "fr"): "{sponsor} vous invite : activez votre compte universitaire",
    ("invited", "en"): "{sponsor} invites you: activate your university account",
    ("redirect", "fr"): "Confirmez la redirection de votre messagerie universitaire",
    ("redirect", "en"): "Confirm that your university mail may be sent here",
}
_ACTIONS: Final = {
    ("activation", "fr"): "Activer mon compte",
    ("activation", "en"): "Activate my account",
    ("password", "fr"): "Continuer",
    ("password", "en"): "Continue",
    ("changed", "fr"): "Choisir un nouveau mot de passe",
    ("changed", "en"): "Choose a new password",
    ("redirected", "fr"): "Choisir un nouveau mot de passe",
    ("redirected", "en"): "Choose a new password",
    ("printed", "fr"): "Choisir un nouveau mot de passe",
    ("printed", "en"): "Choose a new password",
    ("ending", "fr"): "Voir mon compte",
    ("ending", "en"): "See my account",
    ("prolonged", "fr"): "Garder mon accès plus longtemps",
    ("prolonged", "en"): "Keep my access longer",
    ("guest", "fr"): "Voir mon compte",
    ("guest", "en"): "See my account",
    ("sponsor", "fr"): "Renouveler cette invitation",
    ("sponsor", "en"): "Renew this invitation",
    ("invited", "fr"): "Activer mon compte",
    ("invited", "en"): "Activate my account",
    ("redirect", "fr"): "Confirmer la redirection",
    ("redirect", "en"): "Confirm the redirection",
}
"""Labels of the button."""

_PREHEADERS: Final[dict[Language, str]] = {"fr": "Votre code : {code}", "en": "Your code: {code}"}


@dataclass(frozen=True)
class Letters:
    """Writes messages.

    Attributes:
        lifetime_h: of links and codes.
        clock: gives a message's date.
    """

    letterhead: Letterhead
    lifetime_h: float
    clock: Callable[[], datetime]

    def write(self, purpose: str, language: str, says: Mapping[str, Any]) -> EmailMessage:
        """Write the message about a proof, or a notice, with `says`. Raises AddressUnusable."""
        spoken: Language = "en" if language == "en" else "fr"
        kind = "activation" if purpose == PASSWORD and not says["activated"] else purpose
        path = LINK_PATHS[purpose]
        template = purpose
        if prolonged_to := says.get("prolonged_to"):
            kind, path = "prolonged", LINK_PATHS["prolonged"]
        if guest := says.get("guest"):
            kind = template = "sponsor" if prolonged_to else "guest"
        code = f"{says['code'][:3]} {says['code'][3:]}"
        words = {
            "kind": kind,
            "action": _ACTIONS[kind, spoken],
            "link": f"{self.letterhead.portal_url}{path}{says['link']}",
            "code": code,
            "number": says["number"],
            "address": says.get("address", ""),
            "hours": f"{self.lifetime_h:g}",
            "support": self.letterhead.support,
            "institution": self.letterhead.institution,
            "last_day": _day(says.get("last_day"), spoken),
            "services": [(title, _day(day, spoken)) for title, day in says.get("services", ())],
            "account_erased": _day(says.get("account_erased"), spoken),
            "prolonged_to": _day(prolonged_to, spoken),
            "guest": guest,
            "sponsor": says.get("sponsor"),
            "student": is_students(says["number"]),
        }
        text = texts("producers.activation").get_template(f"{template}.{spoken}.txt").render(words)
        return self.letterhead.write(
            mailbox(str(says["to"])),
            _SUBJECTS[kind, spoken].format_map(words),
            text,
            spoken,
            at=self.clock(),
            name=secrets.token_hex(16),
            shown=code,
            preheader=_PREHEADERS[spoken].format(code=code) if says["code"] else "",
        )

    def text_message(self, language: str, says: Mapping[str, Any]) -> str:
        """Write the SMS with a proof's code."""
        return code_text(self.letterhead.institution, says["code"], language, hours=f"{self.lifetime_h:g}")


def paper(language: Language, **words: object) -> str:
    """The text of a letter that the support desk prints."""
    text = texts("producers.activation").get_template(f"paper.{language}.txt").render(words)
    return spaced(text) if language == "fr" else text


def _day(day: str | None, language: Language) -> str:
    if day is None:
        return ""
    return written_day(date.fromisoformat(day), language).replace(NO_BREAK, " ")
