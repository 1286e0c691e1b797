"""Faults by the hundred on real servers: `python -m tests.campaign [--kills N] [--students N] [--seed N] …`.

While students activate on Kafka and PostgreSQL, every kind of process is killed by SIGKILL at random moments
and started again on its data: each consumer, the broker, the database, slapd, Dovecot, Moodle's stand-in. At
the end it is counted what was lost, reordered, or done twice. Exit codes: 0 nothing was, 1 something was, 2
wrong usage.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from pathlib import Path

from sandbox.process import MissingServer
from scripts import evidence
from tests.campaign.page import section
from tests.campaign.running import Plan, run


def main() -> int:
    """The command line."""
    options = _options()
    plan = Plan(
        options.kills, options.students, options.seed, options.processes, options.every, options.seconds
    )
    print(f"seed {plan.seed}", file=sys.stderr)
    try:
        report = run(plan, options.records)
    except MissingServer as missing:
        print(missing, file=sys.stderr)
        return 2
    text = json.dumps(report, indent=2)
    print(text)
    if options.json is not None:
        options.json.write_text(text + "\n", encoding="utf-8")
    if options.docs:
        evidence.write("faults", section(report))
    return 0 if report["held"] else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="campaign", description="Kill every process, and count.")
    parser.add_argument("--kills", type=int, default=200, help="how many; as many of each kind as of another")
    parser.add_argument("--students", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--processes", type=int, default=1, help="of each consumer")
    parser.add_argument("--every", type=float, default=3.0, help="seconds between two kills, on average")
    parser.add_argument("--seconds", type=float, default=0.0, help="no more kills after so many; 0: no bound")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--docs", action="store_true", help="write the section of docs/reference/evidence.md")
    parser.add_argument("--records", type=Path, help="where running worlds are noted (default: .demo)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
