"""The port of target consumers: a handler brings one target to accounts' state.

The worker loads the newest account of each student, takes the lease, calls `Handler.handle` with a batch, and
carries the outcomes out in the right order. A handler knows one target and nothing of the log, of offsets, of
parking or of leases.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from schemas.account import Account


def digest_of(observed: Any) -> str:
    """Return `sha256:` and the hex digest of `observed`'s canonical JSON.

    Canonical: sorted keys, no blanks, UTF-8. `observed`: dicts, lists, strings, numbers, booleans and None
    only; anything else raises TypeError. Sort a list first, unless the target keeps its order.
    """
    text = json.dumps(observed, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


NOTHING: Final = digest_of(None)
"""The digest of a target that shows nothing of the student."""

OBSERVED_ONLY: Final = "observed_only"
"""Reason of waiting at a target that is only observed: `pending` names what would be written."""

ADMINISTRATIVE_PENDING: Final = "administrative_enrolment_pending"
"""Reason of waiting of accounts that are not active yet: no target is called."""

NOT_OPEN_YET: Final = "not_open_yet"
"""Reason of waiting of a target that the site's entitlements open to the student on a later day."""

WHEN_RUNG: Final = math.inf
"""As `Waiting.recheck_after_s`: look again when an event rings, and not before."""


@dataclass(frozen=True)
class Task:
    """One student's turn.

    Attributes:
        account: the newest desired state.
        compare: an earlier call's outcome is unknown, or an operator requests it: read back before writing.
        close_only: this target follows another one, which is not there yet: shut access and do nothing else;
            the outcome is `Closed`. Set only for a target that follows another one.
        was_there: the target was last seen with this student's object.
    """

    account: Account
    compare: bool = False
    close_only: bool = False
    was_there: bool = False


@dataclass(frozen=True)
class Done:
    """The target was read back and is at the account's state.

    Attributes:
        digest: `sha256:` and 64 hex digits over the canonical form of what was *read back*; equal states
            give equal digests, by any writer. See `digest_of`.
        changed: whether anything had to be written.
        note: a remark for operators, without personal data.
    """

    digest: str
    changed: bool
    note: str = ""


@dataclass(frozen=True)
class Waiting:
    """A business precondition is missing. The possible part was done and read back.

    Attributes:
        reason: a token such as `pedagogical_enrolment_pending`; students and support read its explanation.
        pending: names of what is not given yet.
        recheck_after_s: look again after this many seconds without an event; None: after the engine's usual
            time; `WHEN_RUNG`: never. The event that lifts it wakes the student at once in each case.
    """

    reason: str
    pending: tuple[str, ...] = ()
    recheck_after_s: float | None = None


@dataclass(frozen=True)
class Retry:
    """A transient failure of this student's work alone, after in-call retries.

    Attributes:
        cause: a token such as `target_busy`.
        message: for operators, without personal data and without secrets.
        after_s: the delay that the target requested.
        unknown: the outcome is not known (time-out, hang-up): the next turn compares before it writes.
    """

    cause: str
    message: str
    after_s: float | None = None
    unknown: bool = False


@dataclass(frozen=True)
class Dead:
    """A permanent failure: retries are useless until someone fixes the cause.

    Attributes:
        cause: a token such as `identity_collision`; dead letters are grouped by it.
        message: for operators, with the remedy; without personal data and without secrets.
    """

    cause: str
    message: str


@dataclass(frozen=True)
class Closed:
    """Access is shut, and nothing else was done: see `Task.close_only`. No version is recorded."""


HandlerOutcome = Done | Waiting | Retry | Dead | Closed


@dataclass(frozen=True)
class Preview:
    """The expected effect of a turn now, from a read of the target; writes nothing.

    Attributes:
        differs: what would be written, in the target's own words and without values; empty: nothing would.
        obstacle: the reason or cause that would prevent it, e.g. `identity_collision`; empty: none is seen.
        locked_at: since when wrong passwords have locked the account there (epoch seconds); None: it is not.
    """

    differs: tuple[str, ...] = ()
    obstacle: str = ""
    locked_at: float | None = None


@dataclass(frozen=True)
class Description:
    """A target's description, for the documentation and the operator.

    Attributes:
        name: the target's token, e.g. `directory`.
        system: the technology and address, without secrets, e.g. `LDAP ldap://127.0.0.1:389`.
        owns: what the pipeline writes there, in the target's own words, e.g. attribute names.
    """

    name: str
    system: str
    owns: tuple[str, ...]


class Handler(Protocol):
    """One target's consumer logic. Called from several threads at once, never for one student at once."""

    name: str
    batch_size: int  # how many students one call may carry
    call_s_max: float  # the longest that `handle` can take, its in-call retries and time-outs included

    def handle(self, tasks: Sequence[Task]) -> Mapping[str, HandlerOutcome]:
        """Bring the target to each account's state; read it back. One outcome a student.

        By student number. Accounts whose `access_open` is false have their access closed first. Accounts in
        stage `precreated` are never passed here.

        Raises:
            TargetDown: the target as a whole is away; no outcome of this batch is known.
            Throttled: the target wants fewer calls.
            Misconfigured: the target refuses the consumer, not the student.
                Each has in `unknown` whether any call for these students may still have an effect.
        """

    def preview(self, accounts: Sequence[Account]) -> Mapping[str, Preview]:
        """Preview `handle` for at most `batch_size` accounts, by student number. Write nothing.

        Raises:
            TargetDown, Throttled, Misconfigured: as in `handle`.
        """

    def probe(self) -> None:
        """Exercise the whole path without a student's object. Return if it works, else raise as `handle`."""

    def describe(self) -> Description:
        """Describe this target and what the pipeline owns in it."""

    def close(self) -> None:
        """Give connections back. Nothing may be called afterwards."""
