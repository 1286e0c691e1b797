"""One process for each consumer: together they do what `sesame run` does, and each stops as it should."""

from __future__ import annotations

import signal

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sandbox.demo.pipeline import SesameProcess
from sandbox.process import wait_until
from sesame.testing.servers.processes import MOODLE, PROPAGATION, REGISTRY, ManySite

pytestmark = [pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)]

STUDENTS = 30


def shown(process: SesameProcess, name: str, **labels: str) -> list[float]:
    """What a process's `/metrics` says."""
    return [
        sample.value
        for family in text_string_to_metric_families(process.get("/metrics"))
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]


def backlog(process: SesameProcess) -> float:
    """What the Moodle consumer has not settled."""
    return sum(shown(process, "sesame_lag_records", consumer=MOODLE))


def test_consumers_in_processes_of_their_own_do_the_whole_job_and_stop_with_code_0(site: ManySite) -> None:
    everybody = [site.start("consume", name) for name in (REGISTRY, PROPAGATION, MOODLE)]
    serving = site.start("serve")
    site.enrol(STUDENTS)
    wait_until(lambda: site.accounts() == STUDENTS, "accounts")
    site.activate()
    wait_until(lambda: site.settled() == STUDENTS, "everybody to be complete or waiting")
    assert shown(serving, "sesame_outbox_rows") == [0.0]
    wait_until(lambda: backlog(everybody[2]) == 0, "the offsets to be committed")
    for process in (*everybody, serving):
        assert process.end(signal.SIGTERM, 30.0) == 0
        events = [line["event"] for line in process.log_lines()]
        assert events[-1] == "stopped"
        assert "loop_failed" not in events


def test_with_the_embedded_log_a_second_process_says_that_it_waits_and_takes_over(site: ManySite) -> None:
    for name in (REGISTRY, PROPAGATION):
        site.start("consume", name)
    first, second = site.start("consume", MOODLE), site.start("consume", MOODLE)
    assert "waits_for_its_owner" in [line["event"] for line in second.log_lines()]
    assert "waits_for_its_owner" not in [line["event"] for line in first.log_lines()]
    first.kill()
    site.enrol(STUDENTS)
    wait_until(lambda: site.accounts() == STUDENTS, "accounts")
    site.activate()
    wait_until(lambda: site.settled() == STUDENTS, "everybody to be complete or waiting")


def test_a_second_signal_ends_a_process_at_once_while_a_call_hangs(site: ManySite) -> None:
    site.moodle.set(latency_per_call_s=25.0)
    moodle = site.start("consume", REGISTRY, MOODLE)
    site.enrol(STUDENTS)
    wait_until(lambda: site.accounts() == STUDENTS, "accounts")
    site.activate()
    wait_until(lambda: backlog(moodle) > 0, "calls to be under way")
    moodle.send(signal.SIGTERM)
    wait_until(lambda: "stopping" in [line["event"] for line in moodle.log_lines()], "the stop to begin")
    assert moodle.end(signal.SIGTERM, 15.0) == 128 + signal.SIGTERM, "not 0, as when the calls have ended"


def test_what_is_asked_for_wrongly_is_refused_before_anything_runs(site: ManySite) -> None:
    for arguments, said in (
        (("consume", "library"), "no such consumer: library; there are registry, propagation, moodle"),
        (("consume", MOODLE, "--workers", "2"), "one owner"),
    ):
        answer = site.sesame.run(*arguments, allowed=(2,))
        assert said in answer.err
