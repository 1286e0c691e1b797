"""A throw-away certificate authority for loopback servers (RFC 5280).

Real verification needs real certificates: a CA made for the occasion signs one for every sandbox server, and
every client gets that CA's file. Nothing here is fit for anything but 127.0.0.1.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_VALID_FOR = dt.timedelta(days=7)
_CLOCK_SKEW = dt.timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Certificate:
    """A server's PEM files: `cert_file`, `key_file` (mode 0600) and `ca_file`."""

    cert_file: Path
    key_file: Path
    ca_file: Path


class ThrowawayCA:
    """A certificate authority with its key in memory. `ca_file`: its certificate in PEM.

    `folder`: of the files; `now`: the start of validity (default: the machine's clock), also of what it
    issues, unless `issue` gets another.
    """

    def __init__(self, folder: Path, *, name: str = "Sandbox CA", now: dt.datetime | None = None) -> None:
        self._folder = folder
        self._now = now or dt.datetime.now(dt.UTC)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._certificate = (
            self._builder(self._subject, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_CA_USAGE, critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.ca_file = folder / "ca.pem"
        self.ca_file.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))
        self.ca_file.chmod(0o644)

    def issue(
        self, stem: str, *, hosts: Sequence[str] | None = None, now: dt.datetime | None = None
    ) -> Certificate:
        """Write `{stem}.pem` and `{stem}.key` for these hosts (default: loopback's)."""
        names = list(hosts) if hosts is not None else loopback_names()
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        certificate = (
            self._builder(subject, key.public_key(), now)
            .add_extension(x509.SubjectAlternativeName([_general_name(n) for n in names]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(issuer_key, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        cert_file, key_file = self._folder / f"{stem}.pem", self._folder / f"{stem}.key"
        cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        cert_file.chmod(0o644)
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        with os.fdopen(os.open(key_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
            out.write(pem)
        return Certificate(cert_file=cert_file, key_file=key_file, ca_file=self.ca_file)

    def _builder(
        self, subject: x509.Name, public_key: ec.EllipticCurvePublicKey, now: dt.datetime | None = None
    ) -> x509.CertificateBuilder:
        begins = now or self._now
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins - _CLOCK_SKEW)
            .not_valid_after(begins + _VALID_FOR)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        )


_CA_USAGE = x509.KeyUsage(
    digital_signature=True,
    key_cert_sign=True,
    crl_sign=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)


def loopback_names() -> list[str]:
    """The names a client may use for this machine's loopback.

    The host's own name is among them: libldap replaces `localhost` by it before it verifies.
    """
    names = ["localhost", "127.0.0.1", "::1", socket.gethostname(), socket.getfqdn()]
    return list(dict.fromkeys(name for name in names if name))


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
