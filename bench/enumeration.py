"""Whether time tells who is known: `python -m bench.enumeration [--tries 400]`.

Asks the students' pages for a message, in turn, with a number and an address that match, with another
address, and with a number that nobody has. Shows how long the answers took, and how well a stranger tells
the first kind from each other one by time alone: 0.50 is by chance, 1.00 is always (the area under the ROC
curve, which is the Mann-Whitney statistic over the number of pairs).
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from pathlib import Path

from tests.integration.portal_kit import MAIL, Portal


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.enumeration", description=__doc__)
    parser.add_argument("--tries", type=int, default=400, help="of each kind (default 400)")
    tries = parser.parse_args().tries
    with tempfile.TemporaryDirectory() as folder:
        wish: dict[str, object] = {"address_burst": 100_000}
        with Portal(Path(folder), wish=wish, proofs={}, clock=time.time) as portal:
            took = measure(portal, tries)
    known = took["known"]
    for kind, seconds in took.items():
        told = auc(known, seconds)
        middle, late = statistics.median(seconds), statistics.quantiles(seconds, n=20)[-1]
        print(f"{kind:<16} median {middle * 1000:6.2f} ms  p95 {late * 1000:6.2f} ms  told apart {told:.2f}")


def measure(portal: Portal, tries: int) -> dict[str, list[float]]:
    """Seconds per answer, by kind; the kinds come in a random order, so that drift concerns all alike."""
    students = [portal.student() for _ in range(tries)]
    kinds = {
        "known": [(number, MAIL) for number in students],
        "other address": [(number, "autre@perso.example") for number in students],
        "unknown number": [(str(10_000_000 + n), MAIL) for n in range(tries)],
    }
    took: dict[str, list[float]] = {kind: [] for kind in kinds}
    with portal.browser() as browser:
        for turn in range(tries):
            for kind in random.sample(list(kinds), k=len(kinds)):
                browser.get("/")
                number, mail = kinds[kind][turn]
                begun = time.perf_counter()
                browser.client.follow_redirects = False
                answer = browser.send("/demande", numero=number, courriel=mail)
                took[kind].append(time.perf_counter() - begun)
                browser.client.follow_redirects = True
                assert answer.headers["Location"] == "/code"
    return took


def auc(ones: list[float], others: list[float]) -> float:
    """How often one of the first is slower than one of the second."""
    wins = sum(1.0 if one > other else 0.5 if one == other else 0.0 for one in ones for other in others)
    return wins / (len(ones) * len(others))


if __name__ == "__main__":
    main()
