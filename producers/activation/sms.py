"""Send codes by SMS through a gateway's HTTP interface.

A text is one SMS: 160 characters of GSM-7.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Final, Protocol
from urllib.parse import urlsplit

from pipeline.errors import DependencyDown, SesameError
from pipeline.tls import verified

CHARACTERS_MAX: Final = 160
"""Length of one SMS in the default alphabet: a longer one is charged as several (3GPP TS 23.040)."""

TIMEOUT_S: Final = 10.0
_ANSWER_BYTES_MAX: Final = 65_536
_GSM_7: Final = frozenset(
    "@£$¥èéùìòÇØøÅå_ÆæßÉ !\"#%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)
"""Letters of the default alphabet that a French or English text needs (3GPP TS 23.038, 6.2.1)."""

_TEXTS: Final = {
    "fr": " : votre code est {code}, valable {hours} heures. Ne le donnez à personne.",
    "en": ": your code is {code}, valid for {hours} hours. Do not give it to anyone.",
}
_OF_OURS: Final = frozenset({401, 403})
_OF_THE_MESSAGE: Final = frozenset({400, 410, 413, 415, 422})


class SmsGatewayDown(DependencyDown):
    """The SMS gateway cannot be reached, or refuses us just now. A code is tried again for some minutes,
    under the same Idempotency-Key, so that the gateway sends it once. Check url, token and sender in `[sms]`,
    and the gateway's own log."""

    def __init__(self, message: str, *, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class SmsRefused(SesameError):
    """The SMS gateway refuses this message for good. It knows no such number, or not the sender: the
    registrar's office corrects the number; if all are refused, check `[sms]` and the gateway's log."""


class TextMessages(Protocol):
    """Port to an SMS gateway."""

    def send(self, to: str, text: str, *, key: str) -> None:
        """Hand over one message until accepted. `key`: the same for each attempt, so that it is sent once.

        Raises SmsGatewayDown: retry; it may have been sent. SmsRefused: never retry it.
        """


class SmsGateway:
    """A gateway that takes a JSON object by POST.

    One connection per message, no redirects, no proxy.

    Args:
        url: address of its messages.
        sender: the name or number shown as sender.
        token: read when it is needed; None: the gateway wants none.
    """

    def __init__(
        self, url: str, sender: str, token: Callable[[], str] | None, *, timeout_s: float = TIMEOUT_S
    ) -> None:
        self._url = urlsplit(url)
        self._sender = sender
        self._token = token
        self._timeout_s = timeout_s

    def send(self, to: str, text: str, *, key: str) -> None:
        """See `TextMessages.send`."""
        body = json.dumps({"from": self._sender, "to": to, "text": text}).encode()
        answer = self._call("POST", body, {"Content-Type": "application/json", "Idempotency-Key": key})
        if HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
            return
        if answer.status in _OF_THE_MESSAGE:
            raise SmsRefused(f"the SMS gateway refuses this message for good ({answer.status})")
        wait = answer.getheader("Retry-After") or ""
        raise SmsGatewayDown(_refusal(answer), retry_after_s=float(wait) if wait.isdecimal() else 0.0)

    def probe(self) -> None:
        """Send a request without a message, with the token. Raises SmsGatewayDown."""
        answer = self._call("GET", None, {})
        if answer.status in _OF_OURS or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise SmsGatewayDown(_refusal(answer))

    def _call(self, method: str, body: bytes | None, headers: dict[str, str]) -> HTTPResponse:
        if self._token is not None:
            headers |= {"Authorization": f"Bearer {self._token()}"}
        connection = self._connection()
        try:
            connection.connect()
        except OSError as error:
            raise SmsGatewayDown(f"no answer from the SMS gateway: {error.strerror or error}") from error
        try:
            connection.request(method, self._url.path or "/", body, {"Accept": "application/json"} | headers)
            answer = connection.getresponse()
            answer.read(_ANSWER_BYTES_MAX)
        except (OSError, HTTPException) as error:
            raise SmsGatewayDown(
                f"the SMS gateway's answer is lost ({type(error).__name__}): it may have sent the message, "
                "and charges it twice if it disregards Idempotency-Key"
            ) from error
        finally:
            connection.close()
        return answer

    def _connection(self) -> HTTPConnection:
        host, port = self._url.hostname or "", self._url.port
        if self._url.scheme == "https":
            return HTTPSConnection(host, port, timeout=self._timeout_s, context=verified(None))
        return HTTPConnection(host, port, timeout=self._timeout_s)


def _refusal(answer: HTTPResponse) -> str:
    return f"the SMS gateway refuses us just now ({answer.status})"


def is_number(address: str) -> bool:
    """True for a mobile number in E.164's form, False for a mail address."""
    return address.startswith("+") and "@" not in address


def code_text(institution: str, code: str, language: str, *, hours: str) -> str:
    """The text of a code's SMS.

    Letters beyond the alphabet lose their accents, a long name its end.
    """
    rest = _TEXTS["en" if language == "en" else "fr"].format(code=f"{code[:3]} {code[3:]}", hours=hours)
    return _plain(institution)[: CHARACTERS_MAX - len(rest)].rstrip() + rest


def _plain(text: str) -> str:
    letters = unicodedata.normalize("NFC", text.replace("’", "'").replace("œ", "oe").replace("Œ", "OE"))
    kept = (each if each in _GSM_7 else unicodedata.normalize("NFKD", each)[0] for each in letters)
    return "".join(each for each in kept if each in _GSM_7)
