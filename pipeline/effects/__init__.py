"""One batch of items, from lease to record: the order of effects, which is what makes a crash harmless.

1. `enter`: load the newest accounts, take the leases; students with nothing to do are settled here.
2. the handler writes to the target and reads it back (the caller does this, under the lease).
3. `publish`: the outcomes are acknowledged by the log.
4. `record`: applied version, state, parking, dead letters, end of lease: one transaction.

Only then may the offsets be committed. A crash anywhere repeats from 1; nothing is skipped.
"""

from pipeline.effects.carrying import Effects
from pipeline.effects.entry import ADMINISTRATIVE_PENDING, Entry

__all__ = ["ADMINISTRATIVE_PENDING", "Effects", "Entry"]
