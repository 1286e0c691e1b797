"""Whether a target slows down with the students that it has.

Two servers of a kind: one that was brought 7,200 students, and a new one. Each is then brought 800 more, in turns
of 80, so that what disturbs the machine disturbs both: the last 800 of 8,000 beside the first 800. The client is
the target's own handler, called from four threads.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.rows import Row
from bench.saturation import Target, dovecot_target, named, slapd_target
from pipeline.target import Done, Handler, Task
from sandbox.process import MissingServer
from schemas.account import Account
from sesame.testing.servers import moodle_kit

EARLIER, EACH, TURN = 7_200, 800, 80
PARALLEL = 4
WANTED = 0.9


@contextmanager
def _moodle_target() -> Iterator[Target]:
    yield
