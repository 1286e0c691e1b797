"""The pages' dependencies, made once: database, keys, what students may settle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from pydantic import SecretStr
from sqlalchemy import Connection

from consumers.registry.people import People
from pipeline.db.database import Database
from pipeline.vault import Vault, derive_keys
from producers.activation import mail_proofs, throttles
from producers.activation.choices import Choices
from producers.activation.desk_letters import DeskLetters
from producers.activation.hashes import Hasher
from producers.activation.letters import Letters
from producers.activation.postman import Postman
from producers.activation.proof_requests import DELAY_S_MAX, ProofRequests
from producers.activation.proofs import LIFETIME_H, Digests, Proofs
from producers.activation.sms import SmsGateway
from producers.activation.smtp import Smtp
from producers.activation.throttles import Rate
from sesame.login import cas_sessions
from sesame.login.login import CasLogins
from sesame.login.port import LoginServer
from sesame.operations.access.activation import password_judge
from sesame.operations.people.support import Support
from sesame.settings import LiveSecret, Settings
from sesame.settings.served import Networks
from sesame.web.kit.addresses import Ip, counted_as, is_in
from sesame.web.kit.signatures import Signing
from sesame.web.students import web_sessions
from sesame.web.students.pages import Pages

KEPT_S = 30 * 86_400.0
"""How long proofs and sessions are kept after they expired: so long an old link explains itself."""

VIEW_S = 15 * 60.0
"""How long a link of the support desk may be followed, and how long it then shows the page."""

OWN = Rate(5, 30.0)
"""The rate of a request's own key, used when its address has sent too much."""


ADDRESS_EVERY_S: Final = 1.0
"""How often an address that has sent its burst may send one more form."""
SHARED_FACTOR: Final = 50
"""Factor of the limits of `shared_networks`: a lecture hall, or a hall of residence."""


@dataclass(frozen=True)
class Counted:
    """Counters of what happened at the pages, without persons.

    Attributes:
        letter: how a message ended: sent, postponed or refused.
        password: how a choice ended: activated, changed, again, refused or void.
        refused: what was refused: code, slow or form.
        trouble: in a sentence, what is wrong.
    """

    letter: Callable[[str], None] = lambda _how: None
    password: Callable[[str], None] = lambda _how: None
    refused: Callable[[str], None] = lambda _what: None
    trouble: Callable[[str], None] = lambda _what: None


@dataclass(frozen=True)
class Cas:
    """The CAS server, and its logins."""

    server: LoginServer
    logins: CasLogins


@dataclass
class PortalContext:
    """The routes' dependencies.

    Args:
        keys: the vault's, as `read_keys` gives them.
        cas: None: the settings name no CAS server.
        support: None: nothing is diagnosed.
        counted: called for messages, passwords and refusals.
        proof_delay_s_max: see `DELAY_S_MAX`; tests wait for no message.
    """

    settings: Settings
    database: Database
    vault: Vault
    keys: list[str]
    follows: dict[str, str] = field(default_factory=dict)
    cas: Cas | None = None
    support: Support | None = None
    counted: Counted = field(default_factory=Counted)
    proof_delay_s_max: float = DELAY_S_MAX

    def __post_init__(self) -> None:
        portal = self.settings.portal
        self.pages = Pages(self.settings)
        self.signing = Signing(derive_keys(self.keys, "portal"))
        self.secure = portal.secure
        self.browser_cookie = "navigateur"
        self.zone = ZoneInfo(portal.timezone)
        self.proxies: Networks = portal.networks(portal.trusted_proxies)
        self._shared: Networks = portal.networks(portal.shared_networks)
        letters = Letters(self.settings.letterhead, LIFETIME_H, lambda: datetime.now(UTC))
        self.post = smtp_of(self.settings)
        self.postman = Postman(
            self.database,
            self.vault,
            letters,
            self.post,
            sms=sms_of(self.settings),
            on_sent=self.counted.letter,
            on_trouble=self.counted.trouble,
        )
        digests, known = Digests.of(derive_keys(self.keys, "proofs")), People(self.database)
        self.prefixes = self.settings.sms.prefixes if self.settings.sms.url is not None else ()
        self.proof_requests = ProofRequests(
            self.database,
            self.vault,
            digests,
            known=known,
            delay_s_max=self.proof_delay_s_max,
            prefixes=self.prefixes,
        )
        self.proofs = Proofs(self.database, digests)
        self.desk_letters = DeskLetters(self.database, self.vault, digests, known)
        self.choices = Choices(
            self.database,
            self.vault,
            Hasher(self.settings.activation),
            known=known,
            end_sessions=end_sessions,
        )
        self.password_judge = password_judge(self.database, self.settings)

    # --- slow-downs ---

    def slow_down(self, address: Ip, own: str | None = None) -> float:
        """Count a form from this address; the seconds that it must wait, or 0.0.

        `own`: a second key to count the form by where others have used up what the address may send: a
        lecture hall, or all customers of a telephone company, may share one address.
        """
        portal, factor = self.settings.portal, self.share(address)
        rate = Rate(portal.address_burst * factor, ADDRESS_EVERY_S / factor)
        wait_s = self.take(f"address:{counted_as(address)}", rate)
        return self.take(own, OWN) if wait_s and own is not None else wait_s

    def share(self, address: Ip) -> int:
        """This address's multiple of the usual limit: many students share some addresses."""
        return SHARED_FACTOR if is_in(address, self._shared) else 1

    def take(self, name: str, rate: Rate) -> float:
        """Count one more use of a limit; the seconds until it is allowed, or 0.0."""
        with self.database.write() as connection:
            now = self.database.now(connection)
            return throttles.take(connection, self.database, name, rate, now)

    # --- sessions ---

    def access_link(self, student_number: str) -> str:
        """A link that shows this student's page once, in one browser, within `VIEW_S`."""
        offer = self.open_session(student_number, web_sessions.OFFER, VIEW_S)
        return f"{self.settings.portal.origin}/acces/{offer}"

    def offered(self, offer: str) -> str | None:
        """The student whose page this link would show; None: expired, or already followed."""
        with self.database.read() as connection:
            found = web_sessions.find_offer(connection, offer, self.database.now(connection))
        return None if found is None else found.student_number

    def open_view(self, offer: str) -> str | None:
        """Follow such a link: the id of a session that only shows; None: as `offered`."""
        with self.database.write() as connection:
            now = self.database.now(connection)
            return web_sessions.take_offer(connection, offer, now=now, lasts_s=VIEW_S)

    def open_session(self, student_number: str, means: str, lasts_s: float | None = None) -> str:
        """Open a session; return the id that the browser keeps. By default it lasts as set."""
        lasts_s = self.settings.portal.session_min * 60.0 if lasts_s is None else lasts_s
        with self.database.write() as connection:
            now = self.database.now(connection)
            return web_sessions.open_session(connection, student_number, means, now=now, lasts_s=lasts_s)

    def session(self, session_id: str | None, cas_token: str | None = None) -> web_sessions.WebSession | None:
        """The session of this id, if it is open, or the one that a CAS ticket opened."""
        found = None
        if session_id:
            with self.database.read() as connection:
                found = web_sessions.find(connection, session_id, self.database.now(connection))
        if found is None and cas_token and self.cas is not None:
            opened = self.cas.logins.session(cas_token)
            if opened is not None and opened.student_number is not None:
                number, begun, ends = opened.student_number, opened.opened_at, opened.expires_at
                found = web_sessions.WebSession(number, web_sessions.CAS, begun, ends)
        return found

    def end_session(self, session_id: str | None) -> None:
        """End it."""
        if session_id:
            with self.database.write() as connection:
                web_sessions.end(connection, session_id, self.database.now(connection))

    # --- housekeeping ---

    def tidy(self) -> None:
        """Forget expired data."""
        with self.database.write() as connection:
            now = self.database.now(connection)
            mail_proofs.forget(connection, expired_before=now - KEPT_S)
            web_sessions.forget(connection, expired_before=now - KEPT_S)
            throttles.forget(connection, now)


def smtp_of(settings: Settings) -> Smtp:
    """The mail server that the settings name."""
    smtp = settings.smtp
    secret = None if smtp.user is None else LiveSecret(smtp, "password")
    return Smtp(
        smtp.host,
        smtp.port,
        security=smtp.security,
        user=smtp.user,
        password=None if secret is None else lambda: SecretStr(secret()),
        ca_file=smtp.ca_file,
    )


def sms_of(settings: Settings) -> SmsGateway | None:
    """The SMS gateway that the settings name, if any."""
    sms = settings.sms
    if sms.url is None:
        return None
    return SmsGateway(sms.url, sms.sender, LiveSecret(sms, "token") if sms.has_secret("token") else None)


def end_sessions(connection: Connection, student_number: str, now: float) -> None:
    """End this student's sessions of the pages, in whatever browser."""
    web_sessions.end_all(connection, student_number, now)
    cas_sessions.end_all(connection, student_number, now=now)
