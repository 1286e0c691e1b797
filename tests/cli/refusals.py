"""What is refused, and what is said then."""

from __future__ import annotations

from collections.abc import Iterator

from tests.cli.player import Case


def refusals() -> Iterator[Case]:
    """What is refused, and what is said then."""
    yield Case(
        "no-command",
        ("", "nope", "statu", "statu --lang fr", "--version", "--nope", "completion csh", "man /dev/null"),
        "nothing",
    )
    yield Case(
        "unknown-student",
        (
            "status 22699999",
            "diagnose 22699999",
            "access 22699999",
            "provision 22699999",
            "identities show 22699999",
            "identities mint-again 22699999 --reason x --yes",
        ),
    )
    yield Case("not-a-number", ('status "../x"', "hold place x! --reason vol", "activate x!"))
    yield Case(
        "unknown-name",
        (
            "dead-letters show fff",
            "quarantine lift nobody --reason vu",
            "processes forget srv9:9",
            "replay --resume nothing",
            "support AAAAA-AAAAA",
            "restored keep 22600001 --reason vu",
            "restored open 22600001 --reason vu",
            "adopt decide abc --link --reason vu --yes",
        ),
    )
    yield Case(
        "unknown-state",
        (
            "students --state lost",
            "students --cause nothing",
            "students --state completed --cause unavailable",
            "students --limit 0",
        ),
    )
    yield Case(
        "unknown-consumer",
        (
            "replay --consumer nobody --all --yes",
            "lost-records accept nobody --reason vu",
            "provision 22600001 --target nobody",
            "consume nobody",
            "doctor --only nobody",
            "dead-letters list --after fff",
        ),
    )
    yield Case("wrong-time", ("audit --since yesterday", "replay --consumer moodle --all --since soon --yes"))
    yield Case(
        "lacking-arguments",
        (
            "status",
            "hold place 22600001",
            "import",
            "replay",
            "activate",
            "activate 22600001 --all",
            "identities merge",
            "adopt decide --reason vu",
            "support",
            "consume",
            "dead-letters show",
            "rights diff",
        ),
    )
    yield Case("reason-of-two-lines", ('hold place 22600001 --reason ""',))
    yield Case(
        "file-that-is-not-there",
        (
            "import nowhere.csv",
            "activate --from nowhere.txt",
            "rights diff nowhere.toml",
            "--config nowhere.toml overview",
        ),
    )
    yield Case("embedded-log", ("topics diff", "topics apply --yes", "rights diff sesame.toml"))
    yield Case(
        "no-settings", ("overview", "status 22600001", "settings check", "settings show --json"), "nothing"
    )
    for world in ("then", "future", "broken", "away", "wrong"):
        lines = (
            "overview",
            "status 22600001 --json",
            "hold place 22600001 --reason vol",
            "import registrar.csv",
            "activate 22600020",
            "migrate",
        )
        yield Case(f"store-{world}" if world != "wrong" else "settings-wrong", lines, world)
    yield Case("settings-wrong-processes", ("run", "serve", "web", "console", "consume moodle"), "wrong")
    yield Case(
        "log-away",
        (
            "topics diff",
            "topics apply --yes --json",
            "rights diff acls.toml",
            "rights apply acls.toml --dry-run",
            "hold place 22600001 --reason vol",
            "activate 22600020",
            "import registrar.csv",
            "replay --consumer moodle --student 22600001 --yes",
            "identities separate 22700001 22600001 --reason jumeaux --yes",
            "status 22600001",
            "doctor --only log",
        ),
        "kafka",
    )
    yield Case(
        "no-key",
        ("activate --from students.txt --password-file passwords", "access 22600015", "doctor --only vault"),
        "keyless",
    )
    yield Case("doctor-then", ("doctor --only store",), "then")
    yield Case("doctor-broken", ("doctor --only store",), "broken")
    yield Case("doctor-away", ("doctor --only store",), "away")
    yield Case("doctor-nothing", ("doctor --only disk --only store --only vault --only log",), "nothing")
