"""A real Dovecot on loopback, without privileges.

It serves IMAP, LMTP, doveadm (HTTPS) and ManageSieve. Dovecot 2.3 (Debian 12) and 2.4 (Debian 13) are
configured differently: `ops/dovecot/` has what the project ships for each, and this module adds only what
lets it run without privileges next to a system's own Dovecot. Users come from an LDAP directory, as in
service.

    with Slapd() as slapd, Dovecot(LookupDirectory.of(slapd)) as dovecot:
        dovecot.ports.imap        # STARTTLS before any login
        dovecot.doveadm_url       # https://127.0.0.1:…/doveadm/v1
        dovecot.ca_file, dovecot.api_key_file
"""

from __future__ import annotations

import contextlib
import grp
import http.client
import json
import os
import pwd
import secrets
import shutil
import socket
import ssl
import tempfile
from base64 import b64encode
from dataclasses import asdict, dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Self

from sandbox.dovecot_conf import find_dovecot, render, templates, version_of
from sandbox.ports import free_ports
from sandbox.process import ManagedProcess, SandboxError
from sandbox.server import Server
from sandbox.slapd import Slapd
from sandbox.tls import ThrowawayCA

_FOLDER_BYTES_MAX = 60
"""A Unix socket's path holds 107 bytes, and Dovecot's own longest below `run/` takes some forty of them."""


@dataclass(frozen=True, slots=True)
class LookupDirectory:
    """The LDAP directory in which Dovecot finds its users.

    `uri` is `ldap://host:port` (with StartTLS) or `ldaps://…`; `bind_dn` may search for mail, uid and
    Sésame's own attributes; `ca_file` verifies the server; the password's file has no line end.
    """

    uri: str
    base_dn: str
    ca_file: Path
    bind_dn: str
    bind_password_file: Path

    @classmethod
    def of(cls, slapd: Slapd) -> Self:
        """The sandbox's own directory, as its mail server's account sees it."""
        return cls(
            uri=slapd.ldap_uri,
            base_dn=slapd.people_dn,
            ca_file=slapd.ca_file,
            bind_dn=slapd.dovecot_dn,
            bind_password_file=slapd.dovecot_password_file,
        )

    @property
    def starttls(self) -> bool:
        """Whether the connection begins in clear and is upgraded."""
        return not self.uri.startswith("ldaps:")


@dataclass(frozen=True, slots=True)
class DovecotPorts:
    """TCP ports of 127.0.0.1. IMAP and LMTP with STARTTLS, IMAP over TLS, doveadm over HTTPS, ManageSieve."""

    imap: int
    imaps: int
    lmtp: int
    doveadm: int
    sieve: int


class Dovecot(Server):
    """One Dovecot server. Nothing runs before `start` (or `with`).

    `directory`: where the users are. `folder`: where everything lives, mail, certificates, key and ports
    included, so that a new `Dovecot` on the same folder is the same server (default: a new short temporary
    folder, removed by `close`). `default_quota`: what a user without a quota of its own gets, e.g. `1G`.
    `user`: whom a privileged caller runs Dovecot as; an unprivileged caller runs it as itself.
    `as_root`: as on a site, Dovecot itself is root, and only mail is `user`'s; the caller must be root.
    `keep_running`: leave the server up when the interpreter exits.
    `access_lists`: with Dovecot's acl plugin, by which students share folders.

    Raises MissingServer when a Debian package is missing, SandboxError when the folder cannot serve.
    """

    def __init__(
        self,
        directory: LookupDirectory,
        folder: Path | None = None,
        *,
        default_quota: str = "1G",
        postmaster: str = "postmaster@univ-exemple.fr",
        user: str = "nobody",
        as_root: bool = False,
        keep_running: bool = False,
        access_lists: bool = False,
    ) -> None:
        self.directory = directory
        self._access_lists = access_lists
        self._program = find_dovecot()
        self.version = version_of(self._program)
        self._as_root = as_root
        self._temporary = folder is None
        self.folder = (folder or Path(tempfile.mkdtemp(prefix="dc-"))).resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._user = user if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        _check_folder(self.folder)
        self._default_quota = default_quota
        self._postmaster = postmaster
        self.ports = self._kept_ports()
        self.ca_file = self.folder / "tls" / "ca.pem"
        self.api_key_file = self.folder / "secrets" / "doveadm.key"
        self._process = ManagedProcess(
            f"dovecot {self.version}",
            [self._program, "-F", "-c", self.folder / "dovecot.conf"],
            log_file=self.folder / "dovecot.log",
            ready=self._answers,
            cwd=self.folder,
            user=self._user if os.geteuid() == 0 and not as_root else None,
            outlives_parent=keep_running,
        )

    @property
    def doveadm_url(self) -> str:
        """The address of doveadm's HTTP API, verified with `ca_file`."""
        return f"https://127.0.0.1:{self.ports.doveadm}/doveadm/v1"

    def start(self) -> Self:
        """Configure, start, and return once IMAP, LMTP and doveadm each gave a real reply.

        Raises StartFailed with the tail of the log.
        """
        if not self.running:
            self._prepare()
        return super().start()

    def redirected(self) -> list[bytes]:
        """The messages that sieve scripts sent away: nothing leaves the machine.

        A script replaces sendmail; each message follows a line `X-Sandbox-Arguments:` with the envelope.
        """
        return [path.read_bytes() for path in sorted((self.folder / "redirected").glob("*.eml"))]

    def _answers(self) -> bool:
        """Whether every service answers. The master accepts connections before its services work."""
        return (
            _greeting(self.ports.imap).startswith(b"* OK")
            and _greeting(self.ports.lmtp).startswith(b"220 ")
            and self._doveadm_status() == HTTPStatus.OK
        )

    def _doveadm_status(self) -> int:
        tls = ssl.create_default_context(cafile=str(self.ca_file))
        connection = http.client.HTTPSConnection("127.0.0.1", self.ports.doveadm, timeout=2.0, context=tls)
        key = b64encode(self.api_key_file.read_bytes()).decode()
        with contextlib.closing(connection):
            try:
                connection.request("GET", "/doveadm/v1", headers={"Authorization": f"X-Dovecot-API {key}"})
                with connection.getresponse() as answer:
                    return answer.status
            except http.client.HTTPException:
                return 0

    def _kept_ports(self) -> DovecotPorts:
        state = self.folder / "ports.json"
        if not state.exists():
            state.write_text(json.dumps(asdict(DovecotPorts(*free_ports(5)))), encoding="ascii")
        return DovecotPorts(**json.loads(state.read_text(encoding="ascii")))

    def _prepare(self) -> None:
        """Write the configuration, and certificate and key unless they exist. Give all to its user."""
        self.folder.chmod(0o755)  # mkdtemp's 0700 would shut out the unprivileged user
        for name in ("run", "state", "mail", "redirected", "secrets", "tls"):
            (self.folder / name).mkdir(exist_ok=True)
        (self.folder / "secrets").chmod(0o700)
        # Left behind by a crash: Dovecot would take any process of that number for itself.
        (self.folder / "run" / "master.pid").unlink(missing_ok=True)
        if not self.ca_file.exists():
            ThrowawayCA(self.ca_file.parent).issue("server")
        if not self.api_key_file.exists():
            _write(self.api_key_file, secrets.token_urlsafe(24))
        shutil.copyfile(self.directory.ca_file, self.folder / "tls" / "ldap-ca.pem")
        values = self._values()
        for name, text in templates(self.version, access_lists=self._access_lists).items():
            _write(self.folder / name, render(text, values), mode=0o700 if name == "sendmail" else 0o600)
        if os.geteuid() == 0:
            self._give_all()

    def _give_all(self) -> None:
        """Give what was written to the user; the mail below already is that user's."""
        owner = pwd.getpwnam(self._user)
        folders = (self.folder, self.folder / "secrets", self.folder / "tls")
        for path in (self.folder, *(path for folder in folders for path in folder.iterdir())):
            shutil.chown(path, owner.pw_uid, owner.pw_gid)

    def _values(self) -> dict[str, str]:
        owner = pwd.getpwnam(self._user)
        internal = pwd.getpwnam("dovecot") if self._as_root else owner  # the package's own user
        return {
            "admin_address": "127.0.0.1",
            "api_key": self.api_key_file.read_text(encoding="ascii"),
            "default_quota": self._default_quota,
            "doveadm_port": str(self.ports.doveadm),
            "folder": str(self.folder),
            "imap_port": str(self.ports.imap),
            "imaps_port": str(self.ports.imaps),
            "internal_group": grp.getgrgid(internal.pw_gid).gr_name,
            "internal_user": internal.pw_name,
            "ldap_base": self.directory.base_dn,
            "ldap_bind_dn": self.directory.bind_dn,
            "ldap_bind_password": self.directory.bind_password_file.read_text(encoding="utf-8"),
            "ldap_ca_file": str(self.folder / "tls" / "ldap-ca.pem"),
            "ldap_starttls": "yes" if self.directory.starttls else "no",
            "ldap_uri": self.directory.uri,
            "lmtp_port": str(self.ports.lmtp),
            "mail_group": grp.getgrgid(owner.pw_gid).gr_name,
            "mail_root": str(self.folder / "mail"),
            "mail_user": self._user,
            "postmaster": self._postmaster,
            "sieve_port": str(self.ports.sieve),
            "tls_cert_file": str(self.folder / "tls" / "server.pem"),
            "tls_key_file": str(self.folder / "tls" / "server.key"),
            "uid": str(owner.pw_uid),
        }


def _greeting(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=2.0) as connection:
        return connection.recv(512)


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise SandboxError(f"{folder} is not a folder")
    if len(os.fsencode(folder)) > _FOLDER_BYTES_MAX:
        raise SandboxError(f"{folder} is too long for Unix sockets: at most {_FOLDER_BYTES_MAX} bytes")
    if os.geteuid() == 0:
        closed = [parent for parent in folder.parents if not parent.stat().st_mode & 0o001]
        if closed:
            raise SandboxError(f"{closed[0]} is closed to the unprivileged user that Dovecot runs as")


def _write(path: Path, text: str, *, mode: int = 0o600) -> None:
    """Write a file that only its owner may read, even while it is being written."""
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
