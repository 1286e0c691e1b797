"""A receipt's lines about a site: what is kept of an erased person, until when."""

from __future__ import annotations

from datetime import datetime, timedelta

from consumers.registry.erasure.erasures import Erasure
from schemas import catalogue
from schemas.catalogue import Topic
from schemas.receipt import VERSION, ErasedFiles, ErasedTable, ErasureReceipt, KeptData
from sesame.acts.acts import utc
from sesame.acts.ports import HasSettings

KEPT = (
    KeptData(
        what="ledger: logins and addresses as keyed digests (HMAC-SHA-256)",
        why="nobody else is ever given them, and a person who comes back has them again",
    ),
    KeptData(
        what="fingerprints of names and birth date, and of the INE, as keyed digests",
        why="a person who comes back under another number is recognised",
    ),
    KeptData(
        what="audit: acts under the pseudonym, without what would prove whose it is",
        why="the chain of evidence about what operators did goes on",
    ),
    KeptData(what="counts, and this receipt", why="they name nobody"),
)
"""English, as in the table: people and programs of any language read a receipt."""


_SEGMENT = timedelta(days=1, hours=1)
"""Kafka removes whole segments, of a day each (`sesame.app.event_log`), when it looks next."""


def receipt(
    site: HasSettings, erasure: Erasure, now: datetime, *, rewritten_at: datetime | None
) -> ErasureReceipt:
    """Build the receipt of an erasure that has been carried out."""
    noted = erasure.noted
    return ErasureReceipt(
        schema_version=VERSION,
        receipt_id=erasure.id,
        pii_principal_id=tuple(noted["pseudonyms"]),
        requested_by=erasure.actor,
        requested_at=utc(erasure.asked_at),
        reason=erasure.reason,
        completed_at=now,
        targets=noted["targets"],
        tables=tuple(ErasedTable(table=name, **each) for name, each in sorted(noted["tables"].items())),
        files=ErasedFiles(
            log_records=noted["log"], archived_entries=noted["archived"], rewritten_at=rewritten_at
        ),
        kept=KEPT,
        later=later(site, now),
    )


def later(site: HasSettings, now: datetime) -> dict[str, tuple[str, ...]]:
    """Data that the site cannot erase: by target, store and log, with the last day."""
    settings = site.settings
    found: dict[str, tuple[str, ...]] = {}
    for target in settings.targets:
        if (connector := settings.connector_of(target).connector) is not None:
            found[target] = connector.keeps
    if settings.store_file is None:
        until = (now + timedelta(days=settings.privacy.copies_days)).date()
        found["store"] = (
            f"PostgreSQL: pages until VACUUM, the write-ahead log's archive, dumps; until {until}",
        )
    if settings.log.kind == "kafka":
        found["log"] = tuple(_kept_by_kafka(topic, now) for topic in catalogue.TOPICS.values())
    return found


def _kept_by_kafka(topic: Topic, now: datetime) -> str:
    until = (now + timedelta(seconds=topic.retention_s) + _SEGMENT).date()
    whose = "" if topic.personal_data else " (student number only)"
    return f"Kafka: {topic.name}{whose}, whose records cannot be changed; until {until}"
