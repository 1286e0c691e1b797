"""When a target refuses the consumer's secret, it is said which one that was and when it was read.

So `sesame doctor`, which reads the file itself, and a running process, which may have read another one, do
not contradict each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from pipeline.errors import CredentialsRefused
from pipeline.target import Description, Handler, HandlerOutcome, Preview, Task
from schemas.account import Account
from sesame.settings import LiveSecret


class Credentials:
    """A handler that says with which secret it was refused; see `pipeline.target.Handler`.

    Args:
        handler: the target's; closed with this.
        secret: what it identifies itself with.
    """

    def __init__(self, handler: Handler, secret: LiveSecret) -> None:
        self._handler = handler
        self._secret = secret
        self.name = handler.name
        self.batch_size = handler.batch_size
        self.call_s_max = handler.call_s_max

    def handle(self, tasks: Sequence[Task]) -> Mapping[str, HandlerOutcome]:
        """See `Handler.handle`."""
        with self._saying_which():
            return self._handler.handle(tasks)

    def preview(self, accounts: Sequence[Account]) -> Mapping[str, Preview]:
        """See `Handler.preview`."""
        with self._saying_which():
            return self._handler.preview(accounts)

    def probe(self) -> None:
        """See `Handler.probe`."""
        with self._saying_which():
            self._handler.probe()

    def describe(self) -> Description:
        """See `Handler.describe`."""
        return self._handler.describe()

    def close(self) -> None:
        """See `Handler.close`."""
        self._handler.close()

    @contextmanager
    def _saying_which(self) -> Iterator[None]:
        try:
            yield
        except CredentialsRefused as error:
            raise CredentialsRefused(
                f"{error}; it was given {self._secret.told}", remedy=error.remedy, unknown=error.unknown
            ) from error
