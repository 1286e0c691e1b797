"""`python -m sandbox.demo run --students N [--kafka] [--cas apereo] [--json FILE] …`, and `… stop`.

Exit codes: 0 all is as announced, 1 it is not, 2 wrong usage or a machine that lacks something, 130 and 143
interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

from sandbox.demo import play, record
from sandbox.demo.by_hand import ByHand
from sandbox.demo.machine import MachineUnfit, sesame_program
from sandbox.demo.stage import complain, say, stage
from sandbox.demo.world import OPERATOR, World
from sandbox.process import MissingServer, SandboxError

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """A signal asks the demo to end; whatever was begun is undone on the way out."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.code = 128 + number
        self.name = signal.Signals(number).name


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = _parser().parse_args(arguments)
    for number in _SIGNALS:
        signal.signal(number, _interrupt)
    try:
        if options.command == "stop":
            return stop(options.records)
        return run(
            options.records,
            students=options.students,
            json_file=options.json,
            keep=options.keep,
            timetable=options.timetable,
            scim=options.scim,
            partage=options.partage,
            pegase=options.pegase,
            canary=options.canary,
            twin=options.twin,
            active_directory=options.ad,
            brokers=1 if options.kafka or options.processes else 0,
            processes=options.processes,
            apereo=options.cas == "apereo",
        )
    except Interrupted as interrupted:
        complain(f"interrupted by {interrupted.name}: everything was ended and removed")
        return interrupted.code
    except (MachineUnfit, MissingServer) as unfit:
        complain(str(unfit))
        return 2
    except (SandboxError, OSError) as error:
        complain(f"the demo failed: {error}")
        return 1


def run(
    records: Path | None,
    *,
    students: int,
    json_file: Path | None,
    keep: bool,
    timetable: bool,
    scim: bool,
    partage: bool,
    pegase: bool,
    canary: bool,
    twin: Path | None,
    active_directory: bool,
    brokers: int,
    processes: int,
    apereo: bool,
) -> int:
    """Play the demo."""
    if keep and (
        running := next(filter(None, (one.words for one in record.former(record.place(records)))), "")
    ):
        say(f"A demo runs already: `make stop` ends it.\n{running}")
        return 0
    with stage("machine"):
        play.check_machine()
        clean_up(record.place(records))
    if json_file is not None and not os.access(json_file.parent, os.W_OK):
        raise SandboxError(f"{json_file} cannot be written")  # now, not at the end
    world = World(
        records,
        keep=keep,
        timetable=timetable,
        scim=scim,
        partage=partage,
        pegase=pegase,
        canary=canary,
        active_directory=active_directory,
        brokers=brokers,
        processes=processes,
        apereo=apereo,
    )
    try:
        with stage("demo"):
            code = play.perform(world, students=students, json_file=json_file, keep=keep, folder=twin)
        if code:
            _point_at_log(world)
        if keep:
            by_hand = ByHand()
            by_hand.enrol(world)
            world.start_console()
            words = f"{_kept(world)}\n{by_hand.words(world)}"
            world.keep(words)
            say(words)
    except Exception:
        _point_at_log(world)
        raise
    finally:
        if not world.record.kept:
            with _undisturbed():
                world.close()
    return code


def stop(records: Path | None) -> int:
    """End every demo of this checkout, at work or kept."""
    ended = 0
    for one in record.former(record.place(records)):
        if one.running:
            record.interrupt(one)
        one.end()
        say(f"ended, and removed {one.folder}")
        ended += 1
    if not ended:
        say("no demo is running")
    return 0


def clean_up(records: Path) -> None:
    """End and remove what unfinished demos left; name those that are kept."""
    for one in record.former(records):
        if one.kept and one.same_boot:
            say(f"   an earlier demo is kept in {one.folder}; `make stop` ends it")
        elif not one.running:
            one.end()
            say(f"   an earlier demo had not come to its end: ended, and removed {one.folder}")


def _kept(world: World) -> str:
    login, password = world.shown or ("", "")
    operators = world.operator_password_file.read_text(encoding="ascii")
    return (
        f"\nEverything runs on in {world.folder} until `make stop`.\n"
        f"  export SESAME_CONFIG={world.settings_file}\n"
        f"  {sesame_program()} overview\n"
        f"  CAS: {world.cas.url}login, {login}, password {password}\n"
        f"    (the browser does not know its certificate, {world.cas.ca_file}: accept it once)\n"
        f"  console: {world.console.url}/console/, {OPERATOR}, password {operators}\n"
        f"  API: {world.console.url}/v1\n"
        f"  an operator's token for the API, for a week: {world.token_file}\n"
        f"  logs of Sésame's processes: {', '.join(map(str, world.pipeline.log_files))}"
    )


def _point_at_log(world: World) -> None:
    kept = play.keep_logs(world)
    if kept:
        complain(f"the logs of Sésame's processes were saved: {', '.join(map(str, kept))}")


def _interrupt(number: int, _frame: FrameType | None) -> NoReturn:
    for other in _SIGNALS:
        signal.signal(other, signal.SIG_IGN)  # once is enough: cleaning up is not interrupted
    raise Interrupted(number)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    before = {number: signal.signal(number, signal.SIG_IGN) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _students(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 100_000:  # noqa: PLR2004 (the numbers of one year's students are 00001 to 99999)
        raise argparse.ArgumentTypeError("from 1 to 100000")
    return number


def _processes(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 8:  # noqa: PLR2004 (the partitions of each topic: more would have nothing to do)
        raise argparse.ArgumentTypeError("from 0 to 8")
    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sandbox.demo", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    play_it = commands.add_parser("run", help="play the demo")
    play_it.add_argument("--students", type=_students, default=500, help="how many (default 500)")
    play_it.add_argument(
        "--json", type=lambda text: Path(text).absolute(), help="also write the numbers here"
    )
    play_it.add_argument("--timetable", action="store_true", help="a timetable service too, as a target")
    play_it.add_argument("--scim", action="store_true", help="a service that speaks SCIM too, as a target")
    play_it.add_argument("--partage", action="store_true", help="RENATER Partage's stand-in too, as a target")
    play_it.add_argument("--pegase", action="store_true", help="fed by Pégase's stand-in, not by a file")
    play_it.add_argument("--canary", action="store_true", help="the canary goes its way every five minutes")
    play_it.add_argument(
        "--twin",
        metavar="FOLDER",
        type=lambda text: Path(text).absolute(),
        help="the students that `sesame rehearse FOLDER` wrote, when they come",
    )
    play_it.add_argument(
        "--ad", action="store_true", help="a Samba domain controller too, as a target; as root"
    )
    play_it.add_argument("--keep", action="store_true", help="leave everything running until `stop`")
    play_it.add_argument("--kafka", action="store_true", help="on Apache Kafka, not on the embedded log")
    play_it.add_argument(
        "--processes",
        type=_processes,
        default=0,
        help="on Kafka and PostgreSQL, with so many processes for each consumer; 0 (default): one for all",
    )
    play_it.add_argument(
        "--cas",
        choices=("django", "apereo"),
        default="django",
        help="who lets people in: django-cas-server (default), or Apereo CAS, which takes longer to start",
    )
    ending = commands.add_parser("stop", help="end what was left running, and what is")
    for command in (play_it, ending):
        command.add_argument("--records", type=Path, help="where running demos are noted (default: .demo)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
