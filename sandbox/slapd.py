"""A real OpenLDAP server on loopback, with the project's configuration.

    with Slapd() as slapd:
        slapd.ldap_uri            # ldap://127.0.0.1:… : StartTLS before any bind
        slapd.ldaps_uri           # ldaps://127.0.0.1:…
        slapd.ca_file             # verify the server with this
        slapd.provisioner_dn, slapd.provisioner_password_file

The configuration is `ops/ldap`. The server is durable: everything, ports included, is in one folder, and a
new `Slapd` on the same folder is the same directory. `stop`, `kill` (as a crash) and `start` or `restart`
keep the data; only `close` removes it, when the folder was a temporary one. Started by root, slapd runs as an
unprivileged user whenever that user can reach the folder. Configuration and schemas are copied into the
folder: that user cannot read everything.
"""

from __future__ import annotations

import json
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import quote

from argon2 import PasswordHasher

from sandbox.ports import free_ports
from sandbox.process import ManagedProcess, find_program, run_command
from sandbox.server import Server
from sandbox.tls import ThrowawayCA

_OPS = Path(__file__).resolve().parent.parent / "ops" / "ldap"
_PACKAGES = "slapd slapd-contrib ldap-utils"
_SYSTEM_SCHEMAS = Path("/etc/ldap/schema")
_ACCOUNTS = ("provisioner", "dovecot", "cas", "probe")
_UNPRIVILEGED = ("openldap", "nobody")

# An anonymous bind (RFC 4511, section 4.2), message id 1: any answer to it shows that slapd serves.
_BIND_REQUEST = bytes.fromhex("300c020101600702010304008000")
_SEQUENCE_TAG = b"\x30"


@dataclass(frozen=True, slots=True)
class Layout:
    """Places in the tree. The branches' first components must be of type `ou`."""

    suffix: str = "dc=univ-exemple,dc=fr"
    people: str = "ou=people"
    groups: str = "ou=groups"
    system: str = "ou=system"
    domain: str = "univ-exemple.fr"
    organisation: str = "Université d'Exemple"

    def branch(self, rdn: str) -> str:
        """Return the DN of a branch."""
        return f"{rdn},{self.suffix}"


class Slapd(Server):
    """One slapd. Nothing runs before `start` (or `with`).

    `folder`: where everything lives (default: a new short temporary folder, removed by `close`).
    `fsync`: whether each write is on disk before it is acknowledged; False is for tests that only need speed.
    `keep_running`: leave the server up when the interpreter exits.

    Raises MissingServer when slapd is not installed, StartFailed when it does not come up.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        layout: Layout | None = None,
        fsync: bool = True,
        keep_running: bool = False,
    ) -> None:
        self.layout = layout or Layout()
        self._program = find_program("slapd", _PACKAGES)
        self._temporary = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="sl-"))
        self._fsync = fsync
        self._keep_running = keep_running
        self.folder.mkdir(parents=True, exist_ok=True)
        self._user = _unprivileged_user(self.folder)
        self.ldap_port, self.ldaps_port = self._ports()
        self.ca_file = self.folder / "tls" / "ca.pem"
        self._process = self._server()

    @property
    def product(self) -> str:
        """Its name and version."""
        said = subprocess.run([self._program, "-VV"], capture_output=True, text=True, check=False).stderr
        return f"OpenLDAP slapd {said.partition('slapd ')[2].split()[0]}"

    # --- what a client needs ---------------------------------------------------------------------------

    @property
    def ldap_uri(self) -> str:
        """The address to use with StartTLS; a bind in clear is refused."""
        return f"ldap://127.0.0.1:{self.ldap_port}"

    @property
    def ldaps_uri(self) -> str:
        """The address with TLS from the first byte."""
        return f"ldaps://127.0.0.1:{self.ldaps_port}"

    @property
    def ldapi_uri(self) -> str:
        """The local socket; root is the directory's administrator there (SASL EXTERNAL)."""
        return f"ldapi://{quote(str(self.folder / 'run' / 'ldapi'), safe='')}"

    @property
    def base_dn(self) -> str:
        """The suffix."""
        return self.layout.suffix

    @property
    def people_dn(self) -> str:
        """The branch of people."""
        return self.layout.branch(self.layout.people)

    @property
    def groups_dn(self) -> str:
        """The branch of groups."""
        return self.layout.branch(self.layout.groups)

    @property
    def system_dn(self) -> str:
        """The branch of service accounts."""
        return self.layout.branch(self.layout.system)

    @property
    def provisioner_dn(self) -> str:
        """The account that writes people and groups; it cannot read password hashes."""
        return f"cn=provisioner,{self.system_dn}"

    @property
    def dovecot_dn(self) -> str:
        """The mail server's account. It sees logins, addresses, sesameMailEnabled, sesameMailQuota."""
        return f"cn=dovecot,{self.system_dn}"

    @property
    def cas_dn(self) -> str:
        """The login server's account: reads people, without their hashes."""
        return f"cn=cas,{self.system_dn}"

    @property
    def probe_uid(self) -> str:
        """The login of the entry that probes use: mail-enabled, no student's."""
        return "sesame-probe"

    @property
    def probe_dn(self) -> str:
        """The DN of the probe's entry."""
        return f"uid={self.probe_uid},{self.people_dn}"

    @property
    def probe_mail(self) -> str:
        """The mail address of the probe's entry."""
        return f"{self.probe_uid}@{self.layout.domain}"

    @property
    def provisioner_password_file(self) -> Path:
        """A file (mode 0600, no line end) with the provisioner's password."""
        return self._password_file("provisioner")

    @property
    def dovecot_password_file(self) -> Path:
        """A file (mode 0600, no line end) with the mail server's password."""
        return self._password_file("dovecot")

    @property
    def cas_password_file(self) -> Path:
        """A file (mode 0600, no line end) with the login server's password."""
        return self._password_file("cas")

    @property
    def probe_password_file(self) -> Path:
        """A file (mode 0600, no line end) with the password of the probe's entry."""
        return self._password_file("probe")

    @property
    def policy_dn(self) -> str:
        """The password policy of all."""
        return f"cn=default,ou=policies,{self.base_dn}"

    # --- life ------------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Prepare the folder if it is new, start slapd and return once it answers."""
        self._prepare()
        return super().start()

    # --- preparation -----------------------------------------------------------------------------------

    def _server(self) -> ManagedProcess:
        listeners = f"{self.ldap_uri}/ {self.ldaps_uri}/ {self.ldapi_uri}/"
        conf = self.folder / "conf" / "slapd.conf"
        return ManagedProcess(
            "slapd",
            [self._program, "-d", "none", "-f", conf, "-h", listeners],  # -d also keeps it in the foreground
            log_file=self.folder / "slapd.log",
            ready=self._answers,
            cwd=self.folder,
            user=self._user,
            outlives_parent=self._keep_running,
        )

    def _answers(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.ldap_port), timeout=1.0) as connection:
            connection.sendall(_BIND_REQUEST)
            return connection.recv(1) == _SEQUENCE_TAG

    def _ports(self) -> tuple[int, int]:
        state = self.folder / "ports.json"
        if not state.exists():
            state.write_text(json.dumps(free_ports(2)), encoding="ascii")
        ldap, ldaps = json.loads(state.read_text(encoding="ascii"))
        return ldap, ldaps

    def _password_file(self, account: str) -> Path:
        return self.folder / "secrets" / f"{account}.password"

    def _prepare(self) -> None:
        """Write certificates, configuration and the first entries; each unless it exists."""
        self.folder.chmod(0o755)  # mkdtemp's 0700 would shut out the unprivileged user
        for name in ("conf", "data", "run", "secrets", "tls"):
            (self.folder / name).mkdir(exist_ok=True)
        (self.folder / "secrets").chmod(0o700)
        if not self.ca_file.exists():
            ThrowawayCA(self.ca_file.parent).issue("server")
        self._give(self.ca_file.parent / "server.key")
        for schema in _OPS.glob("*.schema"):
            shutil.copy(schema, self.folder / "conf")
        conf = self.folder / "conf" / "slapd.conf"
        conf.write_text(self._render("slapd.conf"), encoding="utf-8")
        self._give(self.folder / "data", self.folder / "run")
        if not (self.folder / "data" / "data.mdb").exists():
            self._seed(conf)

    def _give(self, *paths: Path) -> None:
        if self._user is not None:
            for path in paths:
                shutil.chown(path, self._user)

    def _render(self, name: str, extra: dict[str, str] | None = None) -> str:
        values = {
            "SCHEMA_DIR": str(_SYSTEM_SCHEMAS),
            "CONF_DIR": str(self.folder / "conf"),
            "DATA_DIR": str(self.folder / "data"),
            "TLS_DIR": str(self.folder / "tls"),
            "SUFFIX": self.base_dn,
            "PEOPLE": self.people_dn,
            "GROUPS": self.groups_dn,
            "SYSTEM": self.system_dn,
            **(extra or {}),
        }
        text = (_OPS / name).read_text(encoding="utf-8")
        for key, value in values.items():
            text = text.replace(f"@{key}@", value)
        return text if self._fsync else text.replace("#@DBNOSYNC@", "dbnosync")

    def _seed(self, conf: Path) -> None:
        """Load the first entries offline (slapadd), with random passwords."""
        hasher = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1)  # the passwords are random
        values = {
            "DC": self.base_dn.split(",", 1)[0].partition("=")[2],
            "DOMAIN": self.layout.domain,
            "ORGANISATION": self.layout.organisation,
        }
        for account in _ACCOUNTS:
            password = secrets.token_urlsafe(24)
            path = self._password_file(account)
            path.touch(mode=0o600)
            path.write_text(password, encoding="ascii")
            values[f"{account.upper()}_PASSWORD"] = "{ARGON2}" + hasher.hash(password)
        ldif = self._render("tree.ldif", values)
        run_command(
            "slapadd",
            [self._program, "-T", "add", "-f", conf],
            stdin=ldif,
            cwd=self.folder,
            user=self._user,
        )


def _unprivileged_user(folder: Path) -> str | None:
    """The user to run slapd as when we are root; None: ourselves.

    An unprivileged user must be able to pass through every parent of the folder; else root keeps the server.
    """
    if os.geteuid() != 0:
        return None
    if any(not parent.stat().st_mode & 0o001 for parent in folder.resolve().parents):
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next((user for user in _UNPRIVILEGED if user in known), None)
