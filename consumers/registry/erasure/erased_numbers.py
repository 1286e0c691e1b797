"""Erased students, whose older records in the immutable log must be ignored."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from sqlalchemy import Connection, select

from consumers.registry.erasure.erasures import LOG_BEFORE, ErasureState, erasures, has_forgotten
from consumers.registry.erasure.privacy_key import PrivacyKey, PrivacyKeyError
from pipeline.db.database import Database, StoreUnavailable

_LOOK_EVERY_S: Final = 1.0
_OVERLAP_S: Final = 600.0  # for those that ended in a transaction not seen before


class ErasedNumbers:
    """Cache of the erased students and when; refreshed at most once a second.

    A fact older than the erasure is the erased person's; a newer one belongs to a person who came back.

    Args:
        privacy: the site's key, if there is one by now.
        monotonic: seconds.
    """

    def __init__(
        self,
        database: Callable[[], Database],
        privacy: Callable[[], PrivacyKey | None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._privacy = privacy
        self._monotonic = monotonic
        self._key: PrivacyKey | None = None
        self._until: dict[str, float] = {}  # by pseudonym
        self._newest = 0.0
        self._look_at = 0.0

    def look(self) -> None:
        """Look for new ones; without the store, use the known ones. Raises StoreUnavailable: never read."""
        now = self._monotonic()
        if now < self._look_at:
            return
        try:
            self._look()
        except StoreUnavailable:
            if not self._look_at:
                raise
        self._look_at = now + _LOOK_EVERY_S

    def forgotten(self, connection: Connection, student_number: str) -> bool:
        """True if the store has forgotten them. See `pipeline.db.persons.Forgotten`."""
        self._read_key()
        return self._key is not None and has_forgotten(connection, self._key.pseudonym(student_number))

    def _read_key(self) -> None:
        with suppress(PrivacyKeyError):  # the registry reports it, and waits
            self._key = self._privacy()

    def _look(self) -> None:
        self._read_key()
        if self._key is None:
            return
        e = erasures.c
        done = select(e.pseudonym, e.ended_at, e.receipt, e.noted).where(
            e.state == ErasureState.DONE, e.ended_at > self._newest - _OVERLAP_S
        )
        with self._database().read() as connection:
            for pseudonym, ended_at, receipt, text in connection.execute(done):
                named = json.loads(receipt)["receipt"]["pii_principal_id"] if receipt else ()
                noted = json.loads(text)
                until = noted.get(LOG_BEFORE, ended_at)
                restored = noted.get("pseudonyms", ())  # a backup was put back: without the receipt
                for each in {pseudonym, *named, *restored}:
                    self._until[each] = max(until, self._until.get(each, 0.0))
                self._newest = max(self._newest, ended_at)

    def pseudonym(self, student_number: str, timestamp_ms: int) -> str | None:
        """The pseudonym of a person erased after this moment; None: not erased since then."""
        if self._key is None or not self._until:
            return None
        found = self._key.pseudonym(student_number)
        return found if timestamp_ms <= 1000 * self._until.get(found, -1.0) else None
