"""TLS to the mail server: verified, for doveadm and for LMTP alike."""

from __future__ import annotations

import ssl
from pathlib import Path

from pipeline.errors import Misconfigured
from pipeline.tls import verified


def context_of(ca_file: Path | None) -> ssl.SSLContext:
    """Verify the server's certificate and its name, always.

    Raises:
        Misconfigured: the file cannot be read.
    """
    try:
        return verified(ca_file)
    except OSError as error:
        raise Misconfigured(
            f"the mail server's certificate authorities cannot be read: {ca_file}",
            remedy="Correct mailbox.ca_file; it holds PEM certificates.",
        ) from error


def untrusted(error: BaseException | None) -> bool:
    """Whether a connection failed because the server's certificate does not verify."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY_FAILED" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False
