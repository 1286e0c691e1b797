"""Every bound of the engine, in one place. At a bound the worker pauses; it never drops."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.account import Lane


@dataclass(frozen=True)
class Limits:
    """Bounds of one target consumer.

    Attributes:
        batch_size: students in one call to the target.
        linger_s: how long a batch may wait to become full.
        slots: calls to the target at once.
        slots_personal: of these, how many never serve bulk work.
        ahead: full batches that may be in hand beyond the slots: they are let in, or their ends are written,
            while the calls of others go on.
        bulk_every: while both lanes have work, at least every n-th batch is a bulk one.
        in_hand_max: records of one lane read and not settled; reading that lane pauses there.
        gap_max: how far one partition may be read ahead of what can be committed; reading its lane pauses.
        probe_delay_s_min, probe_delay_s_max: between probes of a target that is down; doubles.
        misconfigured_delay_s: between probes of a target that refuses the consumer.
        quarantine_window_s, quarantine_failed_min, quarantine_share: the consumer stops when, within the
            window, so many items at least and such a share of all were given up for good.
        quarantine_delay_s_min, quarantine_delay_s_max: before one student is tried in quarantine; doubles.
    """

    batch_size: int = 10
    linger_s: float = 0.02
    slots: int = 4
    slots_personal: int = 1
    ahead: int = 0
    bulk_every: int = 5
    in_hand_max: int = 1000
    gap_max: int = 20_000
    probe_delay_s_min: float = 1.0
    probe_delay_s_max: float = 15.0
    misconfigured_delay_s: float = 30.0
    quarantine_window_s: float = 300.0
    quarantine_failed_min: int = 20
    quarantine_share: float = 0.5
    quarantine_delay_s_min: float = 300.0
    quarantine_delay_s_max: float = 3600.0

    def __post_init__(self) -> None:
        if self.slots < 1 or self.batch_size < 1 or self.in_hand_max < 1 or self.bulk_every < 1:
            raise ValueError("slots, batch_size, in_hand_max and bulk_every are at least 1")
        if self.ahead < 0:
            raise ValueError("ahead is not negative")
        if not 0 <= self.slots_personal < self.slots:
            raise ValueError("slots_personal must leave at least one slot to bulk work")

    @property
    def bulk_slots(self) -> int:
        """How many of the slots may serve bulk work."""
        return self.slots - self.slots_personal

    def slots_of(self, lane: Lane) -> int:
        """How many of the slots may serve this lane."""
        return self.bulk_slots if lane is Lane.BULK else self.slots
