"""The effects of work items, in the order that makes a crash harmless.

1. `admit`: load the newest accounts, take the leases; who has nothing to do is settled here.
2. the handler writes to the target and reads it back (the caller does this, under the lease).
3. `publish`: the outcomes are acknowledged by the log.
4. `record`: applied version, state, parking, dead letters, end of lease: one transaction.

Only then may the offsets be committed. A crash anywhere repeats from 1; nothing is skipped.
"""

from pipeline.effects.effects import Effects

__all__ = ["Effects"]
