"""TLS to any server that Sésame is a client of: one place where verification is written out."""

from __future__ import annotations

import ssl
from pathlib import Path


def verified(ca_file: Path | str | None) -> ssl.SSLContext:
    """A context that verifies the server's certificate and its name, always; TLS 1.2 or newer (RFC 9325).

    Args:
        ca_file: a PEM file with the only authorities that are trusted; None: the system's.

    Raises:
        OSError: the file cannot be read, or (`ssl.SSLError`) holds no certificate.
    """
    context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    context.check_hostname = True
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
