"""Every bound of the engine, in one place. At a bound the worker pauses; it never drops."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Final, Self

from pydantic import Field, model_validator

from pipeline.settings import ADVANCED, Section
from schemas.account import Lane


@dataclass(frozen=True)
class Backoff:
    """Exponential delays with jitter, bounded by attempts and by age.

    Attributes:
        delay_s_min, delay_s_max: the first delay and the longest one.
        attempts_max: items before the work goes to the dead letters.
        age_s_max: seconds since the first failure, counted only while the target is up.
        jitter: a delay is shortened by up to this share, so that failures of one moment spread out.
    """

    delay_s_min: float = 5.0
    delay_s_max: float = 1200.0
    attempts_max: int = 12
    age_s_max: float = 4 * 3600.0
    jitter: float = 0.3

    def delay_s(self, attempts: int, chance: float) -> float:
        """Return the delay after `attempts` failures; `chance` is random, in [0, 1)."""
        longest = min(self.delay_s_max, self.delay_s_min * 2.0 ** min(attempts - 1, 32))
        return longest * (1.0 - self.jitter * chance)

    def exhausted(self, attempts: int, age_s: float) -> bool:
        """Return whether the retries have reached a limit."""
        return attempts >= self.attempts_max or age_s >= self.age_s_max


_FIRST_DELAY_S: Final = 5.0
_AHEAD_PER_SLOT, _STUDENTS_AHEAD_MIN = 2, 24
"""Batches ahead of each slot's call, and the fewest students ahead (ADR 25)."""

LEASE_MARGIN_S: Final = 5.0
"""Time that a lease outlasts the longest call and what it may leave running, so that all clocks agree."""

MISCONFIGURED_DELAY_S: Final = 30.0
"""Delay between probes of a target that refuses the consumer: a corrected secret works within it."""


class EngineSettings(Section):
    """The bounds of every target consumer. At a bound it pauses; it never drops."""

    place: ClassVar[str] = "engine"

    slots: int = Field(
        4,
        ge=2,
        le=128,
        description="Calls to one target at once; one of them never serves bulk work.",
        json_schema_extra=ADVANCED,
    )
    attempts_max: int = Field(
        12,
        ge=1,
        le=1000,
        description="Attempts before work goes to the dead letters.",
        json_schema_extra=ADVANCED,
    )
    age_s_max: float = Field(
        4 * 3600.0,
        ge=1,
        le=30 * 86_400,
        description="Seconds of failing, counted while the target is up, before it goes to the dead letters.",
        json_schema_extra=ADVANCED,
    )
    retry_delay_s_max: float = Field(
        1200.0,
        gt=0,
        le=86_400,
        description="The longest delay of a retry. The first is 5 s, or a tenth of this if "
        "less; it doubles each time.",
        json_schema_extra=ADVANCED,
    )
    recheck_s: float = Field(
        900.0,
        ge=1,
        le=86_400,
        description="How often a student who waits for a precondition is looked at again.",
        json_schema_extra=ADVANCED,
    )
    probe_delay_s_max: float = Field(
        15.0,
        ge=1,
        le=3600,
        description="Longest delay between probes of a target that is down; it doubles up to this.",
        json_schema_extra=ADVANCED,
    )
    shutdown_s_max: float = Field(
        20.0,
        ge=0,
        le=600,
        description="How long a stop waits for calls that are under way.",
        json_schema_extra=ADVANCED,
    )

    def limits(self, *, batch_size: int) -> Limits:
        """Return the bounds for a target that takes `batch_size` students in one call."""
        ahead = max(_AHEAD_PER_SLOT * self.slots, math.ceil(_STUDENTS_AHEAD_MIN / batch_size))
        return Limits(**dict(self), batch_size=batch_size, ahead=ahead)

    def backoff(self) -> Backoff:
        """Return the delays and limits of the retries of parked work."""
        return Backoff(
            delay_s_min=min(_FIRST_DELAY_S, self.retry_delay_s_max / 10),
            delay_s_max=self.retry_delay_s_max,
            attempts_max=self.attempts_max,
            age_s_max=self.age_s_max,
        )


class Limits(EngineSettings):
    """Bounds of one target consumer: the settings, constants, and what its target implies."""

    slots: int = Field(4, ge=1, le=128)
    probe_delay_s_max: float = Field(15.0, gt=0, le=3600)
    batch_size: int = Field(10, ge=1)
    """Students in one call to the target."""
    ahead: int = Field(0, ge=0)
    """Full batches of a lane in hand beyond its slots: they wait for one, or are being recorded."""
    linger_s: float = Field(0.02, ge=0, le=10)
    """A batch's longest wait to fill: a person does not notice it, the records of one read arrive in it."""
    slots_personal: int = Field(1, ge=0, le=127)
    """Slots that never serve bulk work: one, so that a person never waits behind a batch."""
    bulk_every: int = Field(5, ge=1, le=1000)
    """While both lanes have work, at least every n-th batch is a bulk one: its minimum share is a fifth."""
    in_hand_max: int = Field(1000, ge=1, le=100_000)
    """Records of one lane that are read and not settled: many batches of the largest target, some 1 MB."""
    gap_max: int = Field(20_000, ge=1, le=1_000_000)
    """The most records of a partition read ahead of the commit: what a restart repeats at most."""
    probe_delay_s_min: float = Field(1.0, gt=0, le=600)
    """First delay between probes of a target that is down: most outages are a restart."""
    misconfigured_delay_s: float = Field(MISCONFIGURED_DELAY_S, gt=0, le=3600)
    """Delay between probes of a target that refuses the consumer itself."""
    quarantine_window_s: float = Field(300.0, ge=1, le=86_400)
    """Time over which work given up for good is counted."""
    quarantine_failed_min: int = Field(20, ge=1, le=100_000)
    """The fewest given up within that time that cause a quarantine: fewer are students' own troubles."""
    quarantine_share: float = Field(0.5, gt=0, le=1)
    """And such a share of all turns of that time, at least: half of them is the target's trouble."""
    quarantine_delay_s_min: float = Field(300.0, gt=0, le=86_400)
    """Wait before one student is tried in quarantine; it doubles. An operator may lift it at once."""
    quarantine_delay_s_max: float = Field(3600.0, gt=0, le=86_400)
    """The longest such wait: a mended target is noticed within the hour."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.slots_personal >= self.slots:
            raise ValueError("slots_personal must be less than slots, so that bulk work keeps one")
        if self.probe_delay_s_min > self.probe_delay_s_max:
            raise ValueError("probe_delay_s_min must not be above probe_delay_s_max")
        if self.quarantine_delay_s_min > self.quarantine_delay_s_max:
            raise ValueError("quarantine_delay_s_min must not be above quarantine_delay_s_max")
        return self

    @property
    def bulk_slots(self) -> int:
        """The number of slots that may serve bulk work."""
        return self.slots - self.slots_personal

    def slots_of(self, lane: Lane) -> int:
        """Return the number of slots that may serve this lane."""
        return self.bulk_slots if lane is Lane.BULK else self.slots
