"""A real Active Directory on loopback: a Samba domain controller, in one folder.

    with Samba() as samba:
        samba.ldaps_uri           # ldaps://127.…: TLS from the first byte
        samba.ldap_uri            # ldap://127.…: StartTLS before any bind
        samba.ca_file             # verify the server with this
        samba.provisioner_dn, samba.provisioner_password_file

Its ports are fixed (389 and 636), so each has another address of 127.0.0.0/8. It is durable as the other
servers are: a new `Samba` on the same folder is the same domain at the same address. It runs as root only,
and serves LDAP and nothing else: no Kerberos, no files, no names.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
import ssl
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Self

from ldap3 import BASE, MODIFY_REPLACE
from ldap3.protocol.formatters.formatters import format_sid

from sandbox.ldap import connected
from sandbox.ports import free_address
from sandbox.process import ManagedProcess, MissingServer, SandboxError, find_program, run_command
from sandbox.server import Server
from sandbox.tls import ThrowawayCA, loopback_names

_PACKAGES = "samba-ad-dc samba-ad-provision python3-samba"
_PORTS = (389, 636, 3268, 3269)
"""LDAP and LDAPS, and both again for the global catalogue: Samba has no setting for another port."""

_BIND_REQUEST = bytes.fromhex("300c020101600702010304008000")  # anonymous: see sandbox.slapd
_SEQUENCE_TAG = b"\x30"

_NORMAL_ACCOUNT, _PASSWORD_NEVER_EXPIRES = 0x200, 0x10000
"""Bits of userAccountControl."""

_INDEXED = "1"
"""Of `searchFlags` ([MS-ADTS] 2.2.10). Without: each look-up of a number reads the whole domain."""

_NEVER = "-9223372036854775808"
_POLICY = {"minPwdLength": "8", "pwdHistoryLength": "0", "minPwdAge": "0", "maxPwdAge": _NEVER}
"""The domain's password policy; by default three kinds of characters of four, no lockout."""

_USER, _GROUP = "bf967aba-0de6-11d0-a285-00aa003049e2", "bf967a9c-0de6-11d0-a285-00aa003049e2"
_MEMBER, _RESET_PASSWORD = "bf9679c0-0de6-11d0-a285-00aa003049e2", "00299570-246d-11d0-a768-00aa006e0529"
_ON_USERS = (
    f"(OA;;CCDC;{_USER};;{{sid}})"  # make and delete them
    f"(OA;CIIO;RPWP;;{_USER};{{sid}})"  # read and write their attributes
    f"(OA;CIIO;CR;{_RESET_PASSWORD};{_USER};{{sid}})"
)
_ON_GROUPS = (
    f"(OA;;CC;{_GROUP};;{{sid}})"  # make them
    f"(OA;CIIO;RPWP;{_MEMBER};{_GROUP};{{sid}})"  # and their members
)
"""The provisioner's rights, as SDDL: in these two units, and nothing elsewhere."""

_CONF = """\
[global]
  workgroup = {workgroup}
  realm = {realm}
  netbios name = {host}
  server role = active directory domain controller
  server services = ldap
  # With /8: for a bare address Samba finds no interface and listens nowhere.
  interfaces = {address}/8
  bind interfaces only = yes
  # For the index of _populate.
  dsdb:schema update allowed = yes
  tls cafile = {folder}/tls/ca.pem
  tls certfile = {folder}/tls/server.pem
  tls keyfile = {folder}/tls/server.key
  private dir = {folder}/private
  state directory = {folder}/state
  cache directory = {folder}/cache
  lock directory = {folder}/run
  pid directory = {folder}/run
  ncalrpc dir = {folder}/run/ncalrpc
  binddns dir = {folder}/run/dns
  # A container's disk may have no extended attributes.
  posix:eadb = {folder}/private/eadb.tdb
  vfs objects = dfs_samba4 acl_xattr xattr_tdb

[sysvol]
  path = {folder}/sysvol

[netlogon]
  path = {folder}/sysvol/{domain}/scripts
"""


class NotRoot(MissingServer):
    """Samba would start, and this process is not root."""

    def __init__(self) -> None:
        SandboxError.__init__(self, "a Samba domain controller runs as root only: type this as root")
        self.program, self.package = "samba", _PACKAGES


class Samba(Server):
    """One domain controller, the only one of its domain. Nothing runs before `start` (or `with`).

    `folder`: where everything lives (default: a new temporary folder, removed by `close`).
    `keep_running`: leave the server up when the interpreter exits.

    Raises MissingServer when Samba is not installed, NotRoot, or StartFailed when it does not come up.
    """

    host, workgroup, domain = "dc1", "UNIV", "ad.univ-exemple.fr"

    def __init__(self, folder: Path | None = None, *, keep_running: bool = False) -> None:
        self._program = find_program("samba", _PACKAGES)
        self._tool = find_program("samba-tool", _PACKAGES)
        self.product = f"Samba {run_command('samba', [self._program, '--version']).split()[-1]}"
        if os.geteuid() != 0:
            raise NotRoot
        self._temporary = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="ad-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        self.address = self._address()
        self.ca_file = self.folder / "tls" / "ca.pem"
        self._conf = self.folder / "smb.conf"
        self._process = ManagedProcess(
            "samba",
            [self._program, "--interactive", "--model=single", f"--configfile={self._conf}"],
            log_file=self.folder / "samba.log",
            ready=self._answers,
            cwd=self.folder,
            outlives_parent=keep_running,
        )

    # --- what a client needs ---------------------------------------------------------------------------

    @property
    def ldap_uri(self) -> str:
        """The address to use with StartTLS; a bind in clear is refused."""
        return f"ldap://{self.address}"

    @property
    def ldaps_uri(self) -> str:
        """The address with TLS from the first byte."""
        return f"ldaps://{self.address}"

    @property
    def realm(self) -> str:
        """The domain's name in Kerberos' form."""
        return self.domain.upper()

    @property
    def base_dn(self) -> str:
        """The domain's DN."""
        return ",".join(f"DC={label}" for label in self.domain.split("."))

    @property
    def users_dn(self) -> str:
        """The unit of the students' accounts."""
        return f"OU=Etudiants,{self.base_dn}"

    @property
    def groups_dn(self) -> str:
        """The unit of the groups."""
        return f"OU=Groupes,{self.base_dn}"

    @property
    def provisioner_dn(self) -> str:
        """The account that makes users and groups, in their two units only. It is no administrator."""
        return f"CN=provisioner,CN=Users,{self.base_dn}"

    @property
    def administrator_dn(self) -> str:
        """The domain's administrator."""
        return f"CN=Administrator,CN=Users,{self.base_dn}"

    @property
    def provisioner_password_file(self) -> Path:
        """A file (mode 0600, no line end) with the provisioner's password."""
        return self._password_file("provisioner")

    @property
    def administrator_password_file(self) -> Path:
        """A file (mode 0600, no line end) with the administrator's password."""
        return self._password_file("administrator")

    def connect(self, who: str, password: str) -> AbstractContextManager[Any]:
        """A connection bound as `who`: a DN, a principal name, or a domain and login."""
        return connected(self.ldaps_uri, self.ca_file, who, password)

    # --- life ------------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Make the domain if new, start Samba and return once it answers over TLS."""
        new = not self.provisioner_password_file.exists()
        if new:
            self._provision()
        super().start()
        if new:
            self._populate()
        return self

    def _answers(self) -> bool:
        trust = ssl.create_default_context(cafile=str(self.ca_file))
        with (
            socket.create_connection((self.address, 636), timeout=5.0) as connection,
            trust.wrap_socket(connection, server_hostname=self.address) as secured,
        ):
            secured.sendall(_BIND_REQUEST)
            return secured.recv(1) == _SEQUENCE_TAG

    # --- preparation -----------------------------------------------------------------------------------

    def _address(self) -> str:
        """The folder's own address; a new folder has a random one without listeners."""
        state = self.folder / "address"
        if not state.exists():
            state.write_text(free_address(_PORTS), encoding="ascii")
        return state.read_text(encoding="ascii")

    def _password_file(self, account: str) -> Path:
        return self.folder / "secrets" / f"{account}.password"

    def _keep_password(self, account: str, password: str) -> None:
        path = self._password_file(account)
        path.touch(mode=0o600)
        path.write_text(password, encoding="ascii")

    def _provision(self) -> None:
        """Make certificates and an empty domain. Samba chooses and prints its administrator's password."""
        for name in ("cache", "private", "run", "secrets", "state", "sysvol", "tls"):
            (self.folder / name).mkdir(mode=0o700, exist_ok=True)
        names = [self.address, f"{self.host}.{self.domain}", *loopback_names()]
        ThrowawayCA(self.ca_file.parent).issue("server", hosts=names)
        values = {"realm": self.realm, "folder": self.folder, "address": self.address}
        values |= {"host": self.host.upper(), "workgroup": self.workgroup, "domain": self.domain}
        self._conf.write_text(_CONF.format_map(values), encoding="utf-8")
        said = self._run(
            *("domain", "provision", "--server-role=dc", "--dns-backend=NONE", f"--realm={self.realm}"),
            *(f"--domain={self.workgroup}", f"--host-name={self.host}", f"--host-ip={self.address}"),
        )
        password = re.search(r"Admin password: +(\S+)$", said, re.MULTILINE)
        if password is None:
            raise SandboxError("samba-tool made a domain and did not say its administrator's password")
        self._keep_password("administrator", password[1])

    def _populate(self) -> None:
        """Make the index, both units, the provisioner and the domain policy."""
        password = secrets.token_urlsafe(24) + "aA1"  # of three kinds of characters in any draw
        account = {
            "sAMAccountName": "provisioner",
            "unicodePwd": f'"{password}"'.encode("utf-16-le"),
            "userAccountControl": str(_NORMAL_ACCOUNT | _PASSWORD_NEVER_EXPIRES),
        }
        admin = self.administrator_password_file.read_text(encoding="ascii")
        with self.connect(self.administrator_dn, admin) as connection:
            number = f"CN=Employee-ID,CN=Schema,CN=Configuration,{self.base_dn}"
            connection.modify(number, {"searchFlags": [(MODIFY_REPLACE, [_INDEXED])]})
            connection.modify(self.base_dn, {name: [(MODIFY_REPLACE, [v])] for name, v in _POLICY.items()})
            connection.add(self.users_dn, "organizationalUnit")
            connection.add(self.groups_dn, "organizationalUnit")
            connection.add(self.provisioner_dn, "user", account)
            connection.search(self.provisioner_dn, "(objectClass=*)", BASE, attributes=["objectSid"])
            (sid,) = connection.response[0]["raw_attributes"]["objectSid"]
        database = self.folder / "private" / "sam.ldb"
        for unit, rights in ((self.users_dn, _ON_USERS), (self.groups_dn, _ON_GROUPS)):
            sddl = rights.format(sid=format_sid(sid))  # type: ignore[no-untyped-call]
            self._run("dsacl", "set", f"--URL={database}", f"--objectdn={unit}", f"--sddl={sddl}")
        self._keep_password("provisioner", password)

    def _run(self, *words: str) -> str:
        """Run samba-tool and return its output; no password is among its words."""
        return run_command(
            f"samba-tool {' '.join(words[:2])}",
            [self._tool, *words, f"--configfile={self._conf}"],
            cwd=self.folder,
        )
