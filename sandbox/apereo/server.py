"""Start and steer an Apereo CAS from a test or a demo."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12

from sandbox.apereo.properties import KEYSTORE, SERVICES, STORE_PASSWORD, TRUSTSTORE, definition, properties
from sandbox.apereo.war import fetch_war
from sandbox.cas import CasDirectory, CasServer, Service
from sandbox.maven import JAVA
from sandbox.process import ManagedProcess, find_program

_JVM = ("-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")


class Apereo(CasServer):
    """One Apereo CAS; see `CasServer`. Tickets and sessions are in its memory: a restart forgets them.

    Args:
        definitions: services as its JSON registry has them, looked at before `services`.

    Raises:
        MissingServer: Java is not installed, or the server is not to be had.
    """

    def __init__(
        self,
        directory: CasDirectory,
        services: Sequence[Service],
        folder: Path | None = None,
        *,
        definitions: Sequence[Mapping[str, Any]] = (),
        logout_ca_file: Path | None = None,
        keep_running: bool = False,
    ) -> None:
        self._war = fetch_war()
        self._java = find_program("java", JAVA)
        self._definitions = tuple(definitions)
        super().__init__(
            directory, services, folder, logout_ca_file=logout_ca_file, keep_running=keep_running
        )

    def close(self) -> None:
        """Kill it if its folder is temporary: a polite end takes ten seconds."""
        if self._temporary:
            self.kill()
        super().close()

    def _program(self, *, keep_running: bool) -> ManagedProcess:
        trusted = {"": self.folder / TRUSTSTORE, "Type": "PKCS12", "Password": STORE_PASSWORD}
        return ManagedProcess(
            "Apereo CAS",
            [
                self._java,
                *_JVM,
                *(f"-Djavax.net.ssl.trustStore{name}={value}" for name, value in trusted.items()),
                f"-Dcas.standalone.configuration-directory={self.folder / 'etc'}",
                f"-Djava.io.tmpdir={self.folder / 'tmp'}",
                f"-DbaseDir={self.folder / 'logs'}",  # else /tmp/logs, for every user
                *("-cp", self._war.class_path, "org.apereo.cas.web.CasWebApplication"),
            ],
            log_file=self.folder / "cas.log",
            ready=self._answers,
            env={name: value for name, value in os.environ.items() if not name.startswith("CAS_")},
            cwd=self.folder,
            stop_timeout_s=10.0,
            outlives_parent=keep_running,
        )

    def _prepare(self) -> None:
        """Write its certificate and trust store, its settings and its services."""
        services = self.folder / SERVICES
        services.mkdir(parents=True, exist_ok=True)
        (self.folder / "tmp").mkdir(exist_ok=True)
        self._write_stores()
        file = self.folder / "etc" / "cas.properties"
        file.touch(mode=0o600)
        file.write_text(properties(self.folder, self.port, self.directory), encoding="utf-8")
        for old in services.glob("*.json"):
            old.unlink()
        named = [definition(number, each) for number, each in enumerate(self._services, 1)]
        for each in (*self._definitions, *named):
            path = services / f"{each['name']}-{each['id']}.json"
            path.write_text(json.dumps(each, indent=2), encoding="utf-8")

    def _write_stores(self) -> None:
        lock = serialization.BestAvailableEncryption(STORE_PASSWORD.encode())
        tls = self.folder / "tls"
        key = serialization.load_pem_private_key((tls / "server.key").read_bytes(), None)
        (own,) = _certificates(tls / "server.pem")
        store = pkcs12.serialize_key_and_certificates(b"cas", key, own, None, lock)  # type: ignore[arg-type]
        (self.folder / KEYSTORE).write_bytes(store)
        trusted = [Path(self.directory.ca_file), *([self._logout_ca_file] if self._logout_ca_file else [])]
        certificates = [one for file in trusted for one in _certificates(file)]
        named = [pkcs12.PKCS12Certificate(one, str(n).encode()) for n, one in enumerate(certificates)]
        (self.folder / TRUSTSTORE).write_bytes(pkcs12.serialize_java_truststore(named, lock))


def _certificates(file: Path) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(file.read_bytes())
