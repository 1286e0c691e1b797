"""The suite that every adapter of the event log passes: one test for each promise.

The author of an adapter writes a fixture `adapter` that yields an `Adapter`, takes the other fixtures into
the same conftest.py, and the tests into files of tests, each of crash, delivery, groups, order and records:

    from sesame.testing.eventlog.fixtures import join, log, new_topic, producer
    from sesame.testing.eventlog.delivery import *

Tests marked `processes` open the log in other processes, and kill these.
"""

from __future__ import annotations
