"""Students in every kind of trouble, on real servers with `sesame run`; and the means to make the trouble."""

from __future__ import annotations

import csv
import json
import re
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any

import httpx
from click.testing import CliRunner

from consumers.propagation import rows as propagated
from consumers.registry.handler import Registry
from consumers.registry.lifecycle.settings import LifecycleSettings
from consumers.registry.people import People
from pipeline import accounts
from pipeline.db.database import Database
from pipeline.eventlog.port import NewRecord
from pipeline.vault import new_key
from producers.activation.activation_requests import activate
from producers.activation.hashes import Hasher, HashingSettings
from sandbox.demo.world import World
from sandbox.process import wait_until
from schemas import catalogue
from schemas.account import Account, Lane
from schemas.envelope import SOURCE_PREFIX, Message, event_id, to_record
from schemas.events import CredentialChanged, Event, Preference, PreferenceChanged
from sesame.app import cas
from sesame.app.wiring import Application, build
from sesame.cli import main
from sesame.cli.errors import ExitCode
from sesame.login.login import CasLogins
from sesame.operations.people.diagnosis.engine import Diagnosis, diagnose
from sesame.operations.people.diagnosis.rules import Finding
from sesame.settings import load
from sesame.testing.servers import require_service
from sesame.testing.servers.cas_kit import Browser
from sesame.testing.servers.ldap_tools import as_provisioner
from sesame.testing.servers.moodle_kit import Operator
from sesame.testing.servers.narrowing import present
from sesame.testing.servers.portal_reader import Browser as Reader
from sesame.testing.servers.target_kit import Silent

PASSWORD = "Un-mot-de-passe-2026"
HASHING = HashingSettings(memory_kib=8192)
HASHED = Hasher(HASHING).hash(PASSWORD)
COLUMNS = (
    *("COD_ETU", "COD_NNE_IND", "LIB_NOM_PAT_IND", "LIB_NOM_USU_IND", "LIB_PR1_IND", "DATE_NAI_IND"),
    *("MAIL_PERSO", "COD_ANU", "COD_ETP", "COD_VRS_VET", "COD_CMP", "LIB_ETP"),
    *("TEM_IAE_PRM", "ETA_IAE", "ETA_PMT_IAE", "IP_VALIDE"),
)


@dataclass
class Clinic:
    """The world, an application of the test's own on its store, and each student's number by a name that says
    what will befall them."""

    world: World
    app: Application
    numbers: dict[str, str] = field(default_factory=dict)
    browsers: list[Browser] = field(default_factory=list)

    def sesame(self, *words: str, allowed: Collection[int] = (0,)) -> str:
        """Run a command here; what it writes to standard output."""
        result = CliRunner().invoke(main, ["--config", str(self.world.settings_file), *words])
        assert result.exit_code in allowed, result.output
        return result.stdout

    # --- the registrar and the students ---

    def enrol(self, students: Mapping[str, dict[str, str]]) -> None:
        """Import students, each with columns that are other than usual; or import them again, changed."""
        file = self.world.private / "students.csv"
        with file.open("w", encoding="utf-8", newline="") as out:
            writer = csv.DictWriter(out, COLUMNS, delimiter=";")
            writer.writeheader()
            writer.writerows(self._row(name) | columns for name, columns in students.items())
        found = json.loads(self.sesame("import", str(file), "--json", allowed=(ExitCode.DONE, ExitCode.HELD)))
        if found["held"]:  # several of so few are many
            self.sesame("import", str(file), "--approve", found["approval"])

    def same(self, name: str) -> dict[str, str]:
        """The columns that make somebody else look like this student."""
        row = self._row(name)
        return {column: row[column] for column in ("LIB_NOM_PAT_IND", "LIB_PR1_IND", "DATE_NAI_IND")}

    def _row(self, name: str) -> dict[str, str]:
        place = len(self.numbers)
        number = self.numbers.setdefault(name, f"2260{place + 1:04d}")
        born = date(2005, 1, 1) + timedelta(days=int(number[-4:]))
        values = (
            *(number, "", name.replace("_", " ").title(), "", "Camille", f"{born:%d/%m/%Y}"),
            *(f"{name}@perso.example", "2026", "L1INFO", "261", "SCI", "Licence 1 Informatique"),
            *("O", "E", "P", "O"),
        )
        return dict(zip(COLUMNS, values, strict=True))

    def activate(self, *names: str, password: str = PASSWORD) -> None:
        """Ask for their accounts, as the portal does."""
        numbers = [self.numbers[name] for name in names]
        activate(
            numbers,
            dict.fromkeys(numbers, password),
            lane=Lane.PERSONAL,
            known=People(self.app.database),
            database=self.app.database,
            vault=self.app.vault,
            producer=self.app.producer,
            clock=lambda: datetime.now(UTC),
            hashing=HASHING,
        )

    def redirect(self, name: str, address: str) -> None:
        """Opt in to a redirection, as the portal does."""
        number = self.numbers[name]
        with self.app.database.write() as connection:
            ref = self.app.vault.seal(connection, number, "mail_redirect", address)
        wish = PreferenceChanged(student_number=number, preference=Preference.MAIL_REDIRECT, value_ref=ref)
        self._say(wish)

    def new_password(self, name: str, password: str) -> None:
        """Choose another password, as the portal does."""
        number = self.numbers[name]
        with self.app.database.write() as connection:
            ref = self.app.vault.seal(connection, number, "password", Hasher(HASHING).hash(password))
        self._say(CredentialChanged(student_number=number, credential_ref=ref))

    def _say(self, event: Event) -> None:
        now = datetime.now(UTC)
        identity = event_id(event.type, "portal", event.student_number, now.isoformat())
        headers, value = to_record(Message(identity, SOURCE_PREFIX + "portal", now, event))
        self.app.producer.append([NewRecord(catalogue.ACTIVATIONS, event.student_number, value, headers)])

    # --- what is looked at ---

    def account(self, name: str) -> Account:
        with self.app.database.read() as connection:
            account = accounts.find(connection, self.numbers[name])
        assert account is not None
        return account

    def has_account(self, name: str) -> bool:
        return self.diagnosis(name, live=False).situation.account is not None

    def state(self, consumer: str) -> str:
        """What a consumer says of itself."""
        consumers = self.diagnosis("outage", live=False).situation.consumers
        return consumers[consumer].state

    def lag(self, consumer: str) -> int:
        """How many records of persons' acts a consumer has before it, as it says."""
        return self.diagnosis("outage", live=False).situation.lags[consumer][Lane.PERSONAL]

    def dn(self, name: str) -> str:
        return f"uid={self.account(name).login},{self.world.slapd.people_dn}"

    def diagnosis(self, name: str, *, live: bool = True) -> Diagnosis:
        return diagnose(self.app, self.numbers.get(name, name), live=live, look_s_max=60.0)

    def rules(self, name: str, *, live: bool = True) -> list[str]:
        return [finding.rule for finding in self.diagnosis(name, live=live).findings]

    def finding(self, name: str, rule: str, *, live: bool = True, service: str | None = None) -> Finding:
        """The finding of a rule that must hold for somebody, of this service if it is told."""
        return _first(self.diagnosis(name, live=live), rule, service)

    def await_rule(self, name: str, rule: str, *, live: bool = True, service: str | None = None) -> Finding:
        """Wait until the pipeline has come so far that this rule holds: it may hold for a moment only."""
        looks: list[Diagnosis] = []

        def holds() -> bool:
            looks.append(self.diagnosis(name, live=live))
            return any(_of(looks[-1], rule, service))

        wait_until(holds, f"{rule} to hold for {name}")
        return _first(looks[-1], rule, service)

    def settle(self, *names: str) -> None:
        """Wait until these students' targets are settled, whatever the end."""
        wait_until(lambda: all(map(self._settled, names)), f"{len(names)} students to settle")

    def _settled(self, name: str) -> bool:
        status = self.diagnosis(name, live=False).situation.status
        return status is not None and status.state in ("completed", "waiting", "failed")

    # --- meddling ---

    def entry(self, name: str, *lines: str) -> None:
        """Change a student's entry by hand: lines of LDIF after the `changetype`."""
        ldif = "\n".join([f"dn: {self.dn(name)}", "changetype: modify", *lines, ""])
        as_provisioner(self.world.slapd, "ldapmodify", stdin=ldif)

    def replace(self, name: str, attribute: str, value: str) -> None:
        self.entry(name, f"replace: {attribute}", f"{attribute}: {value}")

    def policy(self, cn: str, *lines: str) -> str:
        """A password policy of its own, in the branch that the provisioner may write."""
        dn = f"cn={cn},{self.world.slapd.people_dn}"
        classes = ("objectClass: organizationalRole", "objectClass: pwdPolicy")
        ldif = "\n".join([f"dn: {dn}", *classes, f"cn: {cn}", "pwdAttribute: userPassword", *lines, ""])
        as_provisioner(self.world.slapd, "ldapadd", stdin=ldif)
        return dn

    @property
    def site(self) -> Operator:
        return Operator(self.world.moodle)

    @property
    def logins(self) -> CasLogins:
        return present(cas.logins(self.app.settings, self.app.database))

    def log_in(self, name: str, *, password: str = PASSWORD) -> Any:
        """What the CAS server answers to a student's login and password."""
        client = present(cas.client(self.app.settings))
        self.browsers.append(Browser(self.world.cas))
        return self.browsers[-1].log_in(client.login_url(), self.account(name).login, password)

    @contextmanager
    def pipeline_stopped(self) -> Iterator[None]:
        """Nothing is worked off meanwhile."""
        self.world.pipeline.stop()
        try:
            yield
        finally:
            self.world.start_pipeline()

    def mint(self, until: Callable[[], bool]) -> None:
        """Let the registry alone do its work, here, while nothing else runs."""
        stop = threading.Event()
        loop = self.app.fact_loop(self.app.registry, Silent())
        thread = threading.Thread(target=loop.run, args=(stop,))
        thread.start()
        try:
            wait_until(until, "the registry to mint")
        finally:
            stop.set()
            thread.join()

    def other_key(self) -> str:
        """Replace the vault's key, for whoever starts from now on; return the former one."""
        file = self.app.settings.vault_key_file
        former = file.read_text(encoding="ascii")
        file.write_text(f"{new_key()}\n", encoding="ascii")
        self.world.pages.web.stop()
        self.app.close()
        self.app = build(load(self.world.settings_file))
        return former

    def page(self, name: str) -> str:
        """What a student reads on the page of the account."""
        with self.reader() as reader:
            (link,) = re.findall(r"http\S+", self.sesame("access", self.numbers[name]))
            reader.get(link)
            return unescape(reader.send("/acces").text)

    def ask_for_code(self, name: str, address: str) -> None:
        """Ask for a message on the first page."""
        with self.reader() as reader:
            assert reader.ask(self.numbers[name], address).url.path == "/code"

    @contextmanager
    def reader(self) -> Iterator[Reader]:
        """Somebody on the students' pages."""
        self.world.start_pages()
        with httpx.Client(base_url=self.world.pages.url, follow_redirects=True, trust_env=False) as client:
            yield Reader(client)

    def close(self) -> None:
        for browser in self.browsers:
            browser.close()
        self.app.close()

    def registry_in(self, days: int, rules: LifecycleSettings | None = None) -> Registry:
        """The registry, as it would act so many days from now, and under these rules."""
        url = self.app.settings.store_url.get_secret_value()
        later = Database(url, clock=lambda: time.time() + days * 86_400)
        return Registry(
            later,
            self.app.vault,
            self.app.settings.registry,
            propagated=propagated,
            rules=rules,
            services=("mailbox", "moodle"),
        )


@contextmanager
def clinic(records: Path, *, settings: str = "") -> Iterator[Clinic]:
    """A world with `sesame run`, and nobody in it yet. `settings`: added at the end of its file."""
    with require_service(lambda: World(records)) as world:
        world.start()
        with world.settings_file.open("a", encoding="utf-8") as file:
            file.write(settings)
        world.sesame.run("vault", "init")
        world.start_pipeline()
        app = build(load(world.settings_file))
        made = Clinic(world, app)
        try:
            yield made
        finally:
            made.close()


def _of(found: Diagnosis, rule: str, service: str | None) -> Iterator[Finding]:
    return (each for each in found.findings if each.rule == rule and service in (None, each.service))


def _first(found: Diagnosis, rule: str, service: str | None) -> Finding:
    """The finding of this rule, which must be there; every sentence of the diagnosis must be whole."""
    for language in ("fr", "en"):
        said = found.for_student(language)
        assert all("{" not in cause.cause + cause.todo for cause in said.causes)
    mine = list(_of(found, rule, service))
    assert mine, [finding.rule for finding in found.findings]
    return mine[0]
