"""Whether time tells who is known: `python -m bench.enumeration [--tries 400]`.

Requests a message of the students' pages, in turn, with a number and an address that match, with another
address, and with an unknown number; then types a wrong code each time. Shows the answers' times, and how well
a stranger tells the first kind from each other one by time alone: 0.50 is by chance, 1.00 is always (the area
under the ROC curve, which is the Mann-Whitney statistic over the number of pairs).
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from pathlib import Path

import httpx

from producers.activation.proof_requests import DELAY_S_MAX
from sesame.testing.servers.portal_kit import Portal
from sesame.testing.servers.portal_reader import MAIL, Browser

WRONG = 422


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.enumeration", description=__doc__)
    parser.add_argument("--tries", type=int, default=400, help="of each kind (default 400)")
    tries = parser.parse_args().tries
    with tempfile.TemporaryDirectory() as folder:
        wish: dict[str, object] = {"address_burst": 100_000}
        with Portal(Path(folder), wish=wish, proof_delay_s_max=DELAY_S_MAX, clock=time.time) as portal:
            found = measure(portal, tries)
    for form, took in found.items():
        for kind, seconds in took.items():
            told = auc(took["known"], seconds)
            middle, late = statistics.median(seconds) * 1000, statistics.quantiles(seconds, n=20)[-1] * 1000
            print(f"{form:<9} {kind:<15} median {middle:6.2f} ms  p95 {late:6.2f} ms  told apart {told:.2f}")


Took = dict[str, list[float]]


def measure(portal: Portal, tries: int) -> dict[str, Took]:
    """Seconds per answer, by form (number and address, then a wrong code) and kind.

    The kinds come in a random order, so that drift concerns all alike.
    """
    students = [portal.student() for _ in range(tries)]
    kinds = {
        "known": [(number, MAIL) for number in students],
        "other address": [(number, "autre@perso.example") for number in students],
        "unknown number": [(str(10_000_000 + n), MAIL) for n in range(tries)],
    }
    took: dict[str, Took] = {form: {kind: [] for kind in kinds} for form in ("/demande", "/code")}
    with portal.browser() as browser:
        for turn in range(tries):
            for kind in random.sample(list(kinds), k=len(kinds)):
                browser.get("/")
                number, mail = kinds[kind][turn]
                browser.client.follow_redirects = False
                answer = timed(took["/demande"][kind], browser, "/demande", numero=number, courriel=mail)
                assert answer.headers["Location"] == "/code"
                browser.get("/code")
                assert timed(took["/code"][kind], browser, "/code", code="000000").status_code == WRONG
                browser.client.follow_redirects = True
    return took


def timed(seconds: list[float], browser: Browser, action: str, **fields: str) -> httpx.Response:
    """Send a form, and note how long its answer takes."""
    begun = time.perf_counter()
    answer = browser.send(action, **fields)
    seconds.append(time.perf_counter() - begun)
    return answer


def auc(ones: list[float], others: list[float]) -> float:
    """The share of pairs in which the first is slower than the second."""
    wins = sum(1.0 if one > other else 0.5 if one == other else 0.0 for one in ones for other in others)
    return wins / (len(ones) * len(others))


if __name__ == "__main__":
    main()
