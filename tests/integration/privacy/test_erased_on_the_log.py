"""What the log still says of who was erased is nobody's: on the embedded log, and on a real Kafka."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.eventlog.kafka import Access, KafkaEventLog
from pipeline.eventlog.port import Consumer, Record
from sandbox.kafka import Kafka
from schemas import catalogue
from schemas.account import Stage
from sesame.operations.identities import acts as identities
from sesame.operations.identities.acts import DoubtDecisionRequest
from sesame.operations.privacy import acts
from sesame.operations.privacy.acts import ErasureStanding
from sesame.operations.privacy.receipts import verify
from sesame.testing.servers import require_service
from sesame.testing.servers.brokers import PATIENT
from sesame.testing.servers.processes import kafka_settings
from sesame.testing.servers.registry_kit import activation
from sesame.testing.servers.waiting import until
from tests.integration.privacy.test_erasure import (
    DPO,
    LEA,
    LEA_TOO,
    PAUL,
    complete,
    ended,
    enrol,
    erase,
    erased,
    let_targets_erase,
    live_through,
    login,
    rows,
    stage,
)
from tests.integration.targets.site_kit import Site, running

TARGETS = ("directory", "mailbox", "moodle")
PARTITIONS = 2


class Counting:
    """A consumer that counts what it has read of its topics."""

    def __init__(self, consumer: Consumer, read: Counter[str], topics: tuple[str, ...]) -> None:
        self._consumer = consumer
        self._read = read
        read.update(dict.fromkeys(topics, 0))

    def poll(self, records_max: int, timeout_s: float) -> list[Record]:
        found = self._consumer.poll(records_max, timeout_s)
        self._read.update(record.topic for record in found)
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._consumer, name)


class SiteThatReadsAgain(Site):
    """Its consumers belong to groups that have read nothing yet: every record is delivered again."""

    read: dict[str, Counter[str]]

    def _consumer(self, group: str, topics: tuple[str, ...], worker: int) -> Consumer:
        consumer: Any = super()._consumer(f"{group}-again", topics, worker)
        return Counting(consumer, self.read.setdefault(group, Counter()), topics)

    def has_read(self, ends: dict[str, int]) -> bool:
        """Whether all that was there was read by all who read it."""
        return len(self.read) == 2 + len(TARGETS) and all(
            count >= ends[topic] for read in self.read.values() for topic, count in read.items()
        )


@pytest.fixture(params=["embedded", "kafka"])
def settings(request: pytest.FixtureRequest, store_url: str) -> Iterator[str]:
    """Of a site on one of the logs."""
    with ExitStack() as stack:
        log = [f"partitions = {PARTITIONS}"]
        if request.param == "kafka":
            kafka = stack.enter_context(require_service(Kafka))
            access = Access(tuple(kafka.servers), client_id="test", timing=PATIENT)
            with closing(KafkaEventLog(access)) as made:
                made.ensure_topics(dict.fromkeys(catalogue.TOPICS, PARTITIONS))
            log = list(kafka_settings(kafka.servers, PARTITIONS))
        store = [] if store_url.startswith("sqlite") else ["[store]", f'url = "{store_url}"']
        yield "\n".join([f"targets = {json.dumps(TARGETS)}", *store, "[log]", *log])


def at(site: Site, begun: ErasureStanding) -> str:
    """How far an erasure is."""
    return acts.standing(site, DPO, begun.id).state


def of_lea(site: Site) -> list[str]:
    """The tables that name one of her numbers."""
    return [name for name, each in rows(site).items() if any(LEA in row or LEA_TOO in row for row in each)]


def enrolments_of_lea(site: Site) -> list[str]:
    """The numbers under which the log has enrolments of hers."""
    return [key for key, *_ in site.records(catalogue.ENROLMENTS) if key in (LEA, LEA_TOO)]


def keys_heard(site: Site, topic: str, count: int) -> list[str]:
    """The keys of a topic's records, as whoever listens in no group is given them."""
    heard: list[str] = []
    with closing(site.log.reader(topic, {})) as reader:

        def all_heard() -> bool:
            heard.extend(each.key for each in reader.poll(500, 0.5))
            return len(heard) >= count

        until(all_heard)
    return heard


def test_what_is_delivered_again_brings_nobody_back_and_names_nobody(settings: str, tmp_path: Path) -> None:
    folder = tmp_path / "site"
    with closing(Site(folder, settings, in_memory=TARGETS)) as site:
        with running(site):
            live_through(site)
            before = login(site)
            document = erased(site, erase(site))
            assert of_lea(site) == []
        receipt = verify(document, fingerprint=None, privacy=site.privacy, student=LEA).receipt
        on_kafka = site.settings.log.kind == "kafka"
        assert isinstance(receipt.later, dict)
        assert all(receipt.later[target] for target in TARGETS)
        told = {re.split(r"[ ,]+", line)[1]: line for line in receipt.later.get("log", ())}
        assert set(told) == (set(catalogue.TOPICS) if on_kafka else set())
        assert (receipt.files.log_records is None) is on_kafka
        for name, line in told.items():
            # A segment takes a day's records, and goes when its last one is old enough.
            gone = datetime.now(UTC) + timedelta(seconds=catalogue.TOPICS[name].retention_s, days=1)
            assert date.fromisoformat(line.rpartition("until ")[2]) >= gone.date()
            assert ("student number only" in line) is not catalogue.TOPICS[name].personal_data
    with closing(SiteThatReadsAgain(folder, settings, in_memory=TARGETS)) as site:
        site.read = {}
        ends = {topic: sum(site.log.end_offsets(topic).values()) for topic in catalogue.TOPICS}
        listened = keys_heard(site, catalogue.PROPAGATION, ends[catalogue.PROPAGATION])
        assert PAUL in listened
        assert not {LEA, LEA_TOO} & set(listened), "whoever listens to completions hears nothing of her"
        with running(site):
            until(lambda: site.has_read(ends), lambda: (site.read, ends))
        assert site.letters() == []
        assert of_lea(site) == []
        with running(site):
            assert stage(site, PAUL) is Stage.ACTIVE
            enrol(site, sequence=9, tell_apart="back")
            until(lambda: login(site) != "", site.letters)
            assert login(site) == before, "who comes back after it is heard"


@pytest.mark.parametrize(
    ("reached", "number"), [("asked", LEA_TOO), ("forgotten", LEA), ("forgotten", LEA_TOO)]
)
def test_an_enrolment_that_the_registry_has_not_read_is_not_lost(
    settings: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reached: str, number: str
) -> None:
    """Who comes back while the registry lags is enrolled in the end, and served, under either number."""
    whose = LEA if reached == "asked" else number
    with closing(Site(tmp_path / "site", settings, in_memory=TARGETS)) as site:
        with running(site):
            begun = let_targets_erase(site, monkeypatch, Stage.ERASED)
            before = login(site)
            until(lambda: reached == "asked" or ended(site, begun) or at(site, begun) == reached)
        enrol(site, 3, number)
        for _round in range(6):  # the registry has not read who came back
            ended(site, begun)
        with running(site):
            if asks := reached == "forgotten" and number == LEA_TOO:  # the names of before are LEA's
                until(lambda: bool(site.letters()), lambda: rows(site)["people"])
                assert {letter.cause for letter in site.letters()} == {"doubtful_identity"}
                identities.separate(site, DPO, DoubtDecisionRequest(student_number=number, reason="seen"))
            until(lambda: stage(site, whose) in (Stage.PRECREATED, Stage.ACTIVE), site.letters)
            site.say(activation(number), catalogue.ACTIVATIONS, tell_apart="back")
            until(lambda: stage(site, whose) is Stage.ACTIVE, site.letters)
            until(lambda: ended(site, begun), lambda: acts.standing(site, DPO, begun.id))
            assert at(site, begun) == {"asked": "withdrawn", "forgotten": "done"}[reached]
            until(lambda: complete(site, whose), site.letters)
            assert (login(site, whose) == before) is not asks
            assert site.letters() == []
        if reached == "forgotten":  # the enrolment of the return is theirs, and no older one
            until(lambda: enrolments_of_lea(site) == [number], lambda: enrolments_of_lea(site))
