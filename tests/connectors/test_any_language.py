"""The examples of a connector in shell and in Perl, and an HTTP endpoint, judged by the suite."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from consumers.kit.connector import Refused
from consumers.kit.deadline import Deadline
from consumers.program.connector import ProgramConnector
from pipeline.errors import Misconfigured, SesameError, TargetDown
from pipeline.target import Task
from schemas.account import Account
from sesame.testing.connector.bench import ConnectorBench, Skipped
from sesame.testing.connector.checks import CHECKS
from sesame.testing.connector.suite import *
from sesame.testing.servers.narrowing import expect
from sesame.testing.servers.waiting import until

EXAMPLES = Path(__file__).parents[2] / "examples" / "connectors"
PROGRAMS = {"shell": ("sh", "badges.sh"), "perl": ("perl", "badges.pl")}


def command(language: str, badges: Path) -> tuple[str, ...]:
    interpreter, name = PROGRAMS[language]
    return ("env", f"BADGES={badges}", interpreter, str(EXAMPLES / name))


def stranger(badges: Path) -> Callable[[Account], None]:
    def put(account: Account) -> None:
        names = [["login", account.login], ["mail", account.mail]]
        line = {"ref": f"s-{account.login}", "student_number": "", "fields": {}, "open": True, "names": names}
        with badges.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    return put


def refused(account: Account) -> Account:
    person = account.person.model_copy(update={"birth_name": "x" * 70})
    return account.model_copy(update={"person": person})


@contextmanager
def endpoint(badges: Path) -> Iterator[str]:
    """The shell's program behind HTTP: `host:port`."""

    class Service(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            folder, _, verb = self.path.rpartition("/")
            if folder:
                return self.answer(404)
            done = subprocess.run(
                [*command("shell", badges), verb], input=body, capture_output=True, check=False
            )
            return self.answer(200 if done.returncode == 0 else 500, done.stdout)

        def answer(self, status: int, body: bytes = b"") -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Be quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[ConnectorBench]:
    badges = tmp_path / "badges"
    with endpoint(badges) as address:
        yield ConnectorBench(
            ProgramConnector,
            lambda address: {"url": f"http://{address}"},
            address,
            stranger=stranger(badges),
            refuse=refused,
        )


@pytest.fixture(params=PROGRAMS)
def program(request: pytest.FixtureRequest, tmp_path: Path) -> ConnectorBench:
    badges = tmp_path / "badges"
    given = command(request.param, badges)
    return ConnectorBench(
        ProgramConnector, lambda _address: {"command": given}, stranger=stranger(badges), refuse=refused
    )


OF_THE_NETWORK = frozenset(
    {
        "a_wrong_address_fails_the_probe",
        "a_target_that_is_away_charges_nobody",
        "a_reset_after_the_write_is_compared_before_it_is_written_again",
        "a_time_out_after_the_write_is_compared_before_it_is_written_again",
        "half_an_answer_is_compared_before_it_is_written_again",
        "throttling_is_honoured",
        "a_lying_success_is_not_announced",
        "certificates_are_verified",
        "a_call_ends_within_its_time",
    }
)
"""A program of this machine has no network in between; the endpoint has."""

MARKS = "what_others_change_is_told_since_a_mark"
"""A program has no such verb."""


@pytest.mark.parametrize("name", sorted(CHECKS.keys() - OF_THE_NETWORK - {MARKS}))
def test_a_program(program: ConnectorBench, name: str) -> None:
    CHECKS[name](program)


def test_of_a_program_the_suite_says_that_it_injects_no_faults(program: ConnectorBench) -> None:
    for name in OF_THE_NETWORK:
        with pytest.raises(Skipped, match="no address"):
            CHECKS[name](program)


def saying(tmp_path: Path, script: str, **values: object) -> ConnectorBench:
    """A program that is this text."""
    path = tmp_path / "program.sh"
    path.write_text(script, encoding="utf-8")
    return ConnectorBench(ProgramConnector, lambda _address: {"command": ("sh", str(path)), **values})


def error_of(bench: ConnectorBench, account: Account | None = None) -> SesameError:
    account = account or bench.account()
    with bench.handler() as (_, handler), pytest.raises(SesameError) as raised:
        handler.handle([Task(account)])
    return raised.value


@pytest.mark.parametrize(
    ("script", "kind", "says"),
    [
        ('echo \'{"student_number": "99999999", "objects": []}\'', Misconfigured, "was not asked for"),
        ("echo hello", Misconfigured, "not the contract's"),
        ("echo '{\"student_number\": 3}'", Misconfigured, "student_number"),
        ('echo \'{"student_number": "1", "admin": true}\'', Misconfigured, "admin"),
        ("exit 69", TargetDown, "is away"),
        ("exit 75", TargetDown, "is away"),
        ("exit 77", Misconfigured, "refuses it"),
        ("exit 78", Misconfigured, "refuses it"),
        ("exit 1", TargetDown, "ended with 1"),
        ("kill -9 $$", TargetDown, "ended with -9"),
    ],
)
def test_what_a_program_may_not_say_stops_its_consumer_and_names_nobody(
    tmp_path: Path, script: str, kind: type[SesameError], says: str
) -> None:
    bench = saying(tmp_path, script)
    account = bench.account()
    error = expect(kind, error_of(bench, account))
    assert says in str(error)
    assert account.student_number not in str(error)


def test_a_program_that_is_not_there_is_a_fault_of_the_settings(tmp_path: Path) -> None:
    bench = ConnectorBench(ProgramConnector, lambda _address: {"command": (str(tmp_path / "absent"),)})
    assert "command" in expect(Misconfigured, error_of(bench)).remedy


def alive(pids: Sequence[int]) -> list[int]:
    found = []
    for pid in pids:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            continue
        found.append(pid)
    return found


def test_a_program_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    bench = saying(tmp_path, f"sleep 300 & echo $! >> {pids}; echo $$ >> {pids}; wait", call_s_max=0.7)
    assert "in time" in str(expect(TargetDown, error_of(bench)))
    until(lambda: not alive([int(pid) for pid in pids.read_text().split()]))  # whoever inherits it, reaps it


def test_what_a_program_answers_beyond_its_bound_is_not_read(tmp_path: Path) -> None:
    bench = saying(tmp_path, "head -c 3000000 /dev/zero | tr '\\0' x")
    assert "without end" in str(expect(TargetDown, error_of(bench)))


def test_a_million_objects_are_read_one_by_one(tmp_path: Path) -> None:
    bench = saying(tmp_path, 'yes \'{"ref": "a"}\'')  # without an end
    with bench.connected() as connector:
        objects = connector.objects()
        assert [next(objects).ref for _ in range(1000)] == ["a"] * 1000
        objects.close()


def test_what_a_program_says_of_a_refusal_is_cut_and_printable(tmp_path: Path) -> None:
    said = json.dumps(
        {"student_number": "NUMBER", "refused": {"message": "x\x1b[31m" * 100, "lasting": True}}
    )
    bench = saying(
        tmp_path,
        f'sed -n \'s/.*"student_number":"\\([^"]*\\)".*/\\1/p\' | while read n; do echo \'{said}\''
        ' | sed "s/NUMBER/$n/"; done',
    )
    account = bench.account()
    with bench.connected() as connector:
        seen = connector.read([account], Deadline.after(30))[account.student_number]
    assert isinstance(seen, Refused)
    assert len(seen.message) <= 200
    assert seen.message.isprintable()


def test_a_program_may_tell_more_of_whose_an_object_is(tmp_path: Path) -> None:
    line = '{"ref": "7", "evidence": {"family": "Martin", "birth": "2007-05-04"}}'
    with saying(tmp_path, f"echo '{line}'").connected(read_only=True) as connector:
        (one,) = connector.objects()
    assert (one.ref, one.evidence) == ("7", {"family": "Martin", "birth": "2007-05-04"})
