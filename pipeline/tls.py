"""TLS to every server that Sésame calls: the one place that sets verification."""

from __future__ import annotations

import ssl
import threading
from functools import lru_cache
from pathlib import Path

from pipeline.errors import Misconfigured

_LOOKING = threading.Lock()


def verified(ca_file: Path | str | None, protocol: str = "") -> ssl.SSLContext:
    """Return a context that verifies the server's certificate and name.

    TLS 1.2 or newer (RFC 9325). Clients that trust the system's authorities share one: there are some 140,
    and reading them takes 30 ms of processor time. It is replaced when their file has changed.

    Args:
        ca_file: a PEM file with the only authorities that are trusted; None: the system's.
        protocol: what the client writes into its context as spoken (ALPN, RFC 7301): only clients of the same
            one share a context.

    Raises:
        OSError: the file cannot be read, or (`ssl.SSLError`) holds no certificate.
    """
    file = ssl.get_default_verify_paths().cafile
    if ca_file is not None or file is None:
        return _new(ca_file)
    with _LOOKING:
        return _of_the_system(protocol, file, Path(file).stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _of_the_system(_protocol: str, _file: str, _changed_at: int) -> ssl.SSLContext:
    return _new(None)


def _new(ca_file: Path | str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    context.check_hostname = True
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def trusting(name: str, ca_file: Path | None, protocol: str = "") -> ssl.SSLContext:
    """As `verified`, for section `name` of the settings. Raises `Misconfigured` if its file is unusable."""
    try:
        return verified(ca_file, protocol)
    except OSError as error:
        raise Misconfigured(
            f"{name}.ca_file cannot be used: {type(error).__name__}",
            remedy="Name a readable PEM file with the authority of the service's certificate.",
        ) from error


def tls_fault(error: BaseException | None) -> ssl.SSLError | None:
    """Return the TLS error that a connection failed of; None: another cause."""
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    return error
