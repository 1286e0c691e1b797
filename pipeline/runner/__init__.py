"""A target's work: the loop that drives the engine, and `batch_run`.

The order of the effects makes a crash harmless:

1. `admit`: load the newest accounts, take the leases; students with nothing to do are settled here.
2. the handler writes to the target and reads it back, under the lease.
3. `publish`: the outcomes are acknowledged by the log.
4. `record`: applied version, state, parking, dead letters, end of lease: one transaction.

Only then may the offsets be committed. A crash anywhere repeats from 1; nothing is skipped.
"""

from pipeline.runner.batch_run import WAIT_S_MAX, Observer
from pipeline.runner.effects import Effects
from pipeline.runner.loop import TargetWorker

__all__ = ["WAIT_S_MAX", "Effects", "Observer", "TargetWorker"]
