"""TLS to any server that Sésame is a client of: one place where verification is written out."""

from __future__ import annotations

import ssl
from pathlib import Path

from pipeline.errors import Misconfigured


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


def trusting(name: str, ca_file: Path | None) -> ssl.SSLContext:
    """The same, of the section `name` of the settings.

    Raises:
        Misconfigured: its file cannot be used.
    """
    try:
        return verified(ca_file)
    except OSError as error:
        raise Misconfigured(
            f"{name}.ca_file cannot be used: {type(error).__name__}",
            remedy="Name a readable PEM file with the authority of the service's certificate.",
        ) from error


def tls_fault(error: BaseException | None) -> ssl.SSLError | None:
    """What of TLS a connection failed of; None: of something else."""
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    return error
