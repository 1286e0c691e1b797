"""What every call to the mail server needs: TLS that is verified, and the time that is left."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import Misconfigured, TargetDown
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


@dataclass(frozen=True, slots=True)
class CallDeadline:
    """A moment on a monotonic clock, in seconds."""

    at: float
    monotonic: Callable[[], float]

    @classmethod
    def after(cls, seconds: float, monotonic: Callable[[], float]) -> CallDeadline:
        """The moment that many seconds from now."""
        return cls(monotonic() + seconds, monotonic)

    @property
    def over(self) -> bool:
        """Whether it has passed."""
        return self.monotonic() >= self.at

    def left_s(self) -> float:
        """Seconds until then.

        Raises:
            TargetDown: it has passed, before anything was begun.
        """
        left = self.at - self.monotonic()
        if left <= 0:
            raise TargetDown("the mail server is too slow: the call's time was used up", unknown=False)
        return left
