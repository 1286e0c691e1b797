"""What a receipt says of a site: what is kept of an erased person and why, and what goes later."""

from __future__ import annotations

from datetime import datetime, timedelta

from consumers.registry.erasure.erasures import Erasure
from schemas import catalogue
from schemas.receipt import VERSION, ErasedFiles, ErasedLater, ErasedTable, ErasureReceipt, KeptData
from sesame.operations.acts import utc
from sesame.operations.ports import HasSettings

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
"""In the table's own words: a receipt is read by people and programs of any language, so it is English."""


_SEGMENT = timedelta(days=1, hours=1)
"""Kafka removes whole segments, of a day each (`sesame.app.event_log`), when it looks next."""


def receipt(
    site: HasSettings, erasure: Erasure, now: datetime, *, rewritten_at: datetime | None
) -> ErasureReceipt:
    """What is attested of an erasure that has been carried out."""
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


def later(site: HasSettings, now: datetime) -> tuple[ErasedLater, ...]:
    """What the site cannot reach, and until when it is there at the latest."""
    settings = site.settings
    copies = (now + timedelta(days=settings.privacy.copies_days)).date()
    lines = list[ErasedLater]()
    if settings.store_file is None:
        where = "PostgreSQL: pages until VACUUM, the write-ahead log's archive, dumps"
        lines.append(ErasedLater(where=where, until=copies, why="kept by the server"))
    if settings.log.kind == "kafka":
        lines += [
            ErasedLater(
                where=f"Kafka: {topic.name}" + ("" if topic.personal_data else " (student number only)"),
                until=(now + timedelta(seconds=topic.retention_s) + _SEGMENT).date(),
                why="its records cannot be changed; the topic's retention removes them",
            )
            for topic in catalogue.TOPICS.values()
        ]
    return tuple(lines)
