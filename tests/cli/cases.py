"""What the corpus has: each command that reads the store or acts on it, for people and as JSON; refusals."""

from __future__ import annotations

from collections.abc import Iterator

import click

from sesame.cli import main
from tests.cli.player import Case
from tests.cli.refusals import refusals

_GUEST = "--birth-name Noether --given-name Emmy --born 1982-03-23 --mail emmy@ailleurs.example"


def _looks() -> Iterator[Case]:
    """Commands that look: each for people, then as JSON."""
    for name, line in {
        "overview": "overview",
        "status-completed": "status 22600001",
        "status-held": "status 22600002",
        "status-waiting": "status 22600005",
        "status-unpaid": "status 22600006",
        "status-cancelled": "status 22600007",
        "status-failed": "status 22600012",
        "status-retrying": "status 22600004",
        "status-observed": "status 22600018",
        "status-merged": "status 22700003",
        "status-in-doubt": "status 22700001",
        "status-from-the-pages": "status 22600015",
        "status-timeline": "status 22600012 --timeline",
        "status-not-activated": "status 22600020",
        "connectors": "connector list",
        "students": "students",
        "forecast": "forecast",
        "students-waiting": "students --state waiting",
        "students-retrying": "students --state retrying --cause unavailable",
        "students-page": "students --limit 3",
        "students-next-page": "students --limit 3 --after 22600003",
        "dead-letters": "dead-letters list",
        "dead-letters-of-a-consumer": "dead-letters list --consumer directory",
        "dead-letters-of-a-student": "dead-letters list --student 22600012",
        "dead-letters-of-a-cause": "dead-letters list --cause unreadable_envelope",
        "dead-letter": f"dead-letters show {'c' * 12}",
        "identities": "identities list",
        "identities-all": "identities list --all",
        "imports": "imports list",
        "imports-page": "imports list --limit 1",
        "imports-show": "imports show 1",
        "quarantine": "quarantine list",
        "targets": "targets list",
        "cohorts": "cohorts",
        "students-cohort": "students --cohort L3PC-2026 --limit 3",
        "replays": "replays",
        "audit": "audit",
        "audit-of-an-action": "audit --action hold",
        "audit-of-a-student": "audit --student 22600002",
        "audit-verify": "audit verify",
        "audit-page": "audit --limit 2",
        "lost-records": "lost-records list",
        "processes": "processes list",
        "adopt-questions": "adopt questions",
        "adopt-questions-all": "adopt questions --all",
        "settings": "settings show",
        "version": "version",
        "holds": "hold list",
    }.items():
        yield Case(name, (line, f"{line} --json"))
    yield Case(
        "dead-letters-page",
        (
            "dead-letters list --limit 1",
            "dead-letters list --limit 1 --after 0a95bb6d76c4",
            "dead-letters list --json --limit 2 --after 0a95bb6d76c4",
        ),
    )
    yield Case(
        "audit-searched",
        (
            "audit --actor camille --limit 2 --json",
            "audit --about 22600002 --limit 2 --json",
            "audit --about 2260000_",
            "audit --since 2999-01-01",
            "audit --action hold --limit 2 --json",
            "audit --student 22600002 --act hold --by camille --json",
            "audit --student 22600002 --until 2020-01-01 --json",
            "audit --until tomorrow",
        ),
    )
    yield Case("export", ("export --day 2026-11-26", "export --day 2999-01-01"))
    yield Case(
        "export-lists",
        (
            "export --list pix",
            "export --list groups",
            "export --list pix --component NONE",
            "export",
            "export --list payroll",
        ),
    )
    yield Case("restored-nobody", ("restored list", "restored list --json"))
    yield Case(
        "restored-rebuild-down", ("restored rebuild", "restored rebuild --write --lang fr"), "restored"
    )
    yield Case(
        "restored",
        (
            "restored list",
            "restored list --json",
            "restored list --all --json",
            "overview",
            "doctor --only store",
        ),
        "restored",
    )
    yield Case("overview-students", ("overview --json --students",))
    yield Case("settings-check", ("settings check",))
    yield Case("reconcile-none", ("reconcile --last", "reconcile --last --json"))
    yield Case(
        "lifecycle",
        (
            "lifecycle preview --days 3650",
            "lifecycle preview --days 3650 --erase --students",
            "lifecycle preview --days 3650 --json",
            "lifecycle held",
            "lifecycle held --json",
            "lifecycle release 0123456789ab",
            "entitlements preview",
            "entitlements preview --json",
            "entitlements explain 22600001",
            "entitlements explain 22600001 --json",
            "entitlements explain 99999999",
            f"guests invite --sponsor 9 {_GUEST} --until 2099-01-01 --reason visit",
            "guests list",
            "guests list --json",
            "guests end 22600001 --reason visit",
            "guests end",
        ),
    )
    yield Case("backup-none", ("backup verify copies/none", "restore copies/none --yes --lang fr"))
    yield Case("migrate", ("migrate",))
    yield Case(
        "forecast-coming",
        (
            "forecast --at 2020-09-01T08:00",
            "forecast --at tomorrow",
            "forecast --file nowhere.csv",
            "forecast --lang fr",
        ),
        "empty",
    )
    yield Case(
        "rehearse",
        (
            "rehearse twin --at 2099-09-07T08:00 --students 20",
            "rehearse twin --at 2020-09-07T08:00",
            "rehearse twin --outage mailbox",
            "rehearse twin --outage mailbax=30+20 --lang fr",
            "rehearse registrar.csv",
            "rehearse --at 2099-09-07T08:00 --at-once --json",
        ),
    )
    yield Case(
        "ledger-addresses",
        (
            "ledger addresses",
            "ledger addresses --json",
            "ledger addresses --since tomorrow",
            "ledger addresses --output addresses.csv",
        ),
        "left",
    )
    yield Case("imports-prove", ("imports prove", "imports prove --dre nowhere"))
    yield Case("rehearse-empty", ("rehearse twin", "rehearse twin --lang fr"), "empty")
    yield Case(
        "canary", ("canary", "canary show", "canary show --json", "canary show --lang fr", "canary run 1")
    )
    yield Case("canary-failed", ("canary show", "canary show --json", "canary show --lang fr"), "left")
    yield Case("forecast-file", ("forecast --file registrar.csv --at 2099-09-01T08:00",))
    yield Case(
        "overview-empty",
        ("overview", "overview --lang fr", "overview --json", "students", "dead-letters list"),
        "empty",
    )
    sent = ("imports list --limit 1 --lang fr", "imports list --persons", "imports list --persons --json")
    yield Case("imports-persons", sent, "left")
    yield Case(
        "lists-empty", ("replays", "audit", "processes list", "quarantine list", "identities list"), "empty"
    )


def _audited_looks() -> Iterator[Case]:
    """Looks at a person, which leave a line in the audit."""
    yield Case("audit-export", ("audit export --act hold", "audit export --by camille --format jsonl"))
    yield Case("identity-holder", ("identities show 22600014",))
    yield Case("identity", ("identities show 22700001", "identities show 22600014 --json", "audit --limit 2"))
    for name, number in {
        "waiting": "22600005",
        "failed": "22600012",
        "held": "22600002",
        "unpaid": "22600006",
    }.items():
        line = f"diagnose {number} --no-live"
        yield Case(f"diagnose-{name}", (line, f"{line} --lang fr", f"{line} --json"))
    yield Case("diagnose-live", ("diagnose 22600001", "diagnose 22600001 --json"))
    yield Case(
        "support",
        ("support 64S3Z-6BWDP", "support 64S3Z-6BWDP --lang fr --json", "audit --limit 2 --json"),
    )
    yield Case("support-send", ("support RPGYS-NHQSR --send",))
    yield Case("access", ("access 22600015", "audit --limit 1"))
    yield Case(
        "letter", ("letter 22600015 --reason guichet", "letter 22600002 --reason guichet", "audit --limit 1")
    )
    held, why = "unlock 22600002", "--reason guichet"
    yield Case("unlock", (f"{held} {why}", f"{held} {why} --lang fr", f"unlock 22600001 {why} --json"))


def _prolonged() -> Iterator[Case]:
    """An act on the end of an account."""
    why = '--reason "soutenance reportée"'
    yield Case(
        "lifecycle-prolong",
        (
            f"lifecycle prolong 22600001 --days 30 {why}",
            f"lifecycle prolong 22699999 --until 2027-02-28 {why} --lang fr",
            f"lifecycle prolong 22600001 {why}",
            f"lifecycle prolong 22600001 --days 3 --until 2027-02-28 {why} --lang fr",
        ),
    )


def _of_a_replay(one: str) -> Iterator[Case]:
    """One that has asked for some."""
    yield Case("replay-resume", (f"replay --resume {one} --yes", "replays"))
    again = "replay --consumer directory --cause identity_collision"
    yield Case("replay-in-vain", (again, f"{again} --lang fr", f"{again} --yes"), "left", answer="n\n")
    stopped = (f"replay --stop {one}", "replays --json", f"replay --stop {one} --consumer moodle")
    yield Case("replay-stop", (*stopped, "replay --stop nothing"))


def _acts() -> Iterator[Case]:
    """Commands that act, with what they change."""
    yield Case(
        "hold",
        (
            "hold list --lang fr",
            'hold place 22600001 --reason "vol, ticket 4713"',
            "hold list --kind suspended --json",
            "hold list --kind technical",
            "hold lift 22600001 --reason retrouvé",
            "audit --limit 2 --json",
        ),
    )
    listed = "hold place --from stolen.txt --cause stolen-passwords --reason hameçonnage"
    yield Case(
        "hold-list",
        (
            f"{listed} --dry-run",
            listed,
            f"{listed} --json",
            f"{listed} --lang fr",
            "audit --limit 1 --json",
            "hold lift --from stolen.txt --kind stolen-passwords --reason erreur",
            "hold place --from stolen.txt 22600001 --reason vol",
            "hold place --reason vol",
            "hold place 22600001 --reason vol --dry-run",
            "hold place 22600001 --reason vol --json",
        ),
    )
    yield Case("hold-kind", ("hold place 22600001 --kind administrative --reason impayé",))
    yield Case(
        "hold-again",
        (
            "hold place 22600002 --reason encore",
            "hold lift 22600001 --reason rien",
            "hold place 22600002 --reason encore --lang fr",
            "hold lift 22600001 --reason rien --lang fr",
        ),
    )
    yield Case("hold-of-nobody", ("hold place 22699999 --reason vol", "hold lift 22699999 --reason retrouvé"))
    yield Case("activate", ("activate 22600019 22600020 22600001 22699999", "activate 22600020 --json"))
    yield Case(
        "activate-list",
        (
            "activate --from students.txt --password-file passwords --dry-run",
            "activate --from students.txt --password-file passwords --json",
        ),
    )
    yield Case(
        "activate-all", ("activate --all --dry-run", "activate --all --yes", "activate --all --yes --json")
    )
    yield Case("activate-all-asks", ("activate --all",), answer="n\n")
    yield Case(
        "activate-republish", ("activate 22600014 --republish", "activate --all --republish --yes --json")
    )
    yield Case(
        "dismiss",
        (
            "dead-letters dismiss cccccccccccc --reason vu --dry-run",
            "dead-letters dismiss cccccccccccc --reason vu --yes",
            "dead-letters list",
        ),
    )
    yield Case(
        "dismiss-cause", ("dead-letters dismiss --cause unreadable_envelope --reason vu --yes --json",)
    )
    yield Case("dismiss-owed", ("dead-letters dismiss --cause identity_collision --reason vu --yes",))
    yield Case(
        "dismiss-nothing",
        ("dead-letters dismiss --cause nothing --reason vu --yes", "dead-letters dismiss --reason vu"),
    )
    yield Case(
        "dismiss-of-a-student",
        (
            "dead-letters dismiss d7000d26e826 --reason vu --yes",
            "dead-letters dismiss --cause doubtful_identity --consumer registry --reason vu --yes --json",
            "dead-letters dismiss cccccccccccc 0a95bb6d76c4 --reason vu --yes",
            "dead-letters dismiss cccccccccccc --cause unreadable_envelope --reason vu --yes",
            "dead-letters list --json",
            "audit --action dead_letters.dismiss --json",
        ),
    )
    yield Case(
        "quarantine-lift",
        (
            'quarantine lift timetable --reason "service rétabli"',
            "quarantine list",
            "quarantine lift timetable --reason encore",
        ),
    )
    yield Case(
        "lost-records-accept",
        (
            "lost-records accept registry --reason réimporté",
            "lost-records list",
            "lost-records accept registry --reason encore",
        ),
    )
    yield Case("processes-forget", ("processes forget srv2:4711", "processes list --json"))
    yield Case(
        "merge", ("identities merge 22700001 22600001 --reason réinscription --yes", "audit --limit 1 --json")
    )
    yield Case("merge-asks", ("identities merge 22700001 --reason réinscription",), answer="n\n")
    yield Case("merge-says-yes", ("identities merge 22700001 --reason réinscription",), answer="y\n")
    yield Case("separate", ("identities separate 22700001 22600001 --reason jumeaux --yes",))
    yield Case("separate-holder", ("identities separate 22600014 --holder --reason autre --yes",))
    yield Case(
        "settle",
        (
            "identities settle --rule same-ine-and-birth --dry-run",
            "identities settle --rule same-ine-and-birth --yes",
            "audit --limit 2 --json",
        ),
    )
    yield Case("settle-asks", ("identities settle --rule same-ine-and-birth --lang fr",), answer="n\n")
    yield Case("mint-again", ("identities mint-again 22600020 --reason accent --yes",))
    yield Case(
        "adopt-decide",
        (
            "adopt decide --kind names_and_birth_date --separate --reason vu --yes",
            "adopt decide --kind mail_differs --link --reason vu",
            "adopt questions --all",
            "adopt questions --all --lang fr",
        ),
        answer="y\n",
    )
    yield Case("adopt-decide-twice", ("adopt decide 2f198796d2e7 --link --reason vu --yes",))
    yield Case(
        "adopt-link",
        (
            "adopt link 22600019 7 --target moodle --reason vu",
            "adopt questions --all",
        ),
    )
    yield Case("adopt-activate", ("adopt activate --dry-run", "adopt activate --yes --json"))
    yield Case("replay", ("replay --consumer directory --student 22600012 --yes", "replays"))
    yield Case("replay-cause", ("replay --consumer directory --cause identity_collision --yes --json",))
    yield Case(
        "replay-all", ("replay --consumer moodle --all --first 2 --yes --reason contrôle", "replays --json")
    )
    yield Case(
        "replay-of-nobody",
        (
            "replay --consumer directory --cause identity_colision",
            "replay --consumer directory --cause identity_colision --dry-run",
            "replay --consumer directory --cause unreadable_envelope",
        ),
    )
    yield Case(
        "replay-since",
        ("replay --consumer mailbox --all --since 2026-11-27T00:00 --until 2026-11-28T00:00 --yes",),
    )
    yield Case(
        "replay-canary",
        (
            "replay --consumer moodle --all --canary 2 --incident rentrée --yes --json",
            "replays --json",
        ),
    )
    yield from _of_a_replay("mzft5H7t-vj5")
    yield Case("replay-asks", ("replay --consumer moodle --all",), answer="n\n")
    yield Case(
        "restored-keep",
        ('restored keep 22600009 --reason "plainte en cours"', "restored list --all", "audit --limit 1"),
        "restored",
    )
    yield Case(
        "restored-open",
        ("restored open 22600009 --reason vérifié", "restored open 22600009 --reason encore"),
        "restored",
    )
    yield Case("restored-shut", ("replay --consumer moodle --all --yes", "provision 22600001"), "restored")
    yield Case("init", ("init --config new.toml", "init --config new.toml"), "nothing")
    yield Case("vault-init", ("vault init",), "nothing")
    yield Case("vault-init-again", ("vault init",))


def _imports() -> Iterator[Case]:
    """The registrar's files, and what is told of them afterwards."""
    yield Case("import", ("import registrar.csv", "import registrar.csv --json", "audit --limit 1"))
    yield Case("import-dry-run", ("import registrar.csv --dry-run", "import registrar.csv --dry-run --json"))
    yield Case("import-groups", ("import --groups groups.csv", "import --groups groups.csv --json"))
    yield Case("import-both", ("import registrar.csv --groups groups.csv",))
    yield Case(
        "import-full",
        ("import registrar.csv --full --year 2026", "import registrar.csv --full --year 2026 --json"),
    )
    yield Case(
        "import-explain", ("import registrar.csv --explain 3", "import registrar.csv --explain 2 --json")
    )
    yield Case(
        "imports-told",
        (
            "import registrar.csv",
            "import registrar.csv --full --year 2026",
            "import lacking.csv",
            "imports list",
            "imports list --limit 2 --json",
            "imports list --after 5 --lang fr",
            *(f"imports show {number}{more}" for number in (5, 6, 7) for more in ("", " --json")),
            "imports show 6 --lang fr",
            "imports show 99",
            "audit --action import --json",
        ),
    )
    yield Case("import-lacking", ("import lacking.csv", "import lacking.csv --json"))


def _targets() -> Iterator[Case]:
    """Keeping away from a target."""
    yield Case(
        "targets-pause",
        (
            'targets pause timetable --reason "mise à jour"',
            "targets pause timetable --reason encore",
            "targets list",
            "targets list --json",
            "targets resume timetable --reason fini",
            "targets resume timetable --reason encore",
            "targets pause nobody --reason vu",
        ),
    )


def _tokens() -> Iterator[Case]:
    """Tokens of programs."""
    yield Case(
        "token",
        (
            "token list",
            "token create --scope viewer --scope dead_letters.list --days 30 --name bi",
            "token create --scope support --days 1 --json",
            "token list --json",
            f"token revoke {'0' * 12}",
            "audit --limit 2",
        ),
    )
    yield Case(
        "token-refused",
        (
            "token create --scope everything --days 30",
            "token create --scope viewer --days 367",
            "token create --scope viewer --days 3 --name 'a b' --lang fr",
            "token create --scope everything --days 3 --lang fr",
        ),
    )


def _privacy() -> Iterator[Case]:
    """Erasures and their receipts."""
    yield Case("privacy-init", ("privacy init",), "nothing")
    yield Case("privacy-init-again", ("privacy init", "privacy init --lang fr"))
    yield Case("privacy-key", ("privacy key", "privacy key --json"))
    erase = "privacy erase 22600003 --reason demande --wait 0"
    yield Case(
        "privacy-erase", (erase, f"{erase} --json --lang fr", "privacy list", "privacy list --json"), "left"
    )
    yield Case("privacy-erase-noted", (erase, "audit --limit 1"), "left")
    for number in ("22600001", "22609999"):
        refused = f"privacy erase {number} --reason demande"
        yield Case(f"privacy-erase-refused-{number}", (refused, f"{refused} --lang fr"))
    yield Case("privacy-erase-keyless", (erase, f"{erase} --lang fr"), "keyless")
    yield Case("privacy-export", ("privacy export 22600003 --lang fr", "audit --limit 1"))
    yield Case("privacy-export-json", ("privacy export 22700001 --json", "privacy export 22609999"))
    yield Case("privacy-receipt-unknown", ("privacy receipt 0123", "privacy receipt 0123 --lang fr"))
    verify = "privacy verify receipt.json"
    yield Case(
        "privacy-verify",
        (verify, f"{verify} --json", f"{verify} --student 22600007", f"{verify} --key {'0' * 64}"),
    )
    yield Case(
        "privacy-again",
        ("privacy again", "privacy again receipt.json --json", "privacy again receipt.json --lang fr"),
    )
    yield Case("privacy-again-changed", ("privacy again groups.csv",))
    yield Case("privacy-verify-changed", ("privacy verify groups.csv", "privacy verify groups.csv --lang fr"))


def _evidence() -> Iterator[Case]:
    """What an auditor asks, and the review of accounts. The clock of the filled store stands in 2026."""
    yield Case("evidence-unknown", ("evidence --framework iso", "evidence --framework iso --lang fr"))
    yield Case(
        "evidence-passwords",
        ("evidence --framework cnil-passwords", "evidence --framework cnil-passwords --json"),
    )
    yield Case(
        "evidence-verify-changed", ("evidence verify groups.csv", "evidence verify groups.csv --lang fr")
    )
    yield Case("review-none", ("review show", "review decide SCI --rest --keep --lang fr"))
    yield Case(
        "review",
        (
            "review open --days 30",
            "review open --days 30 --lang fr",
            "review show --json",
            "review show SCI --lang fr",
            "review show DROIT",
            "review decide SCI 22600001 --end",
            "review decide SCI 22600001 --rest --keep",
            "review decide SCI 22609999 --keep",
            "review decide NIRGENDS --rest --keep",
            "review decide SCI 22600001",
            "review decide SCI 22600001 --end --reason parti",
            "review decide SCI --rest --keep --json",
            "review show SCI",
            "audit --limit 3 --lang fr",
        ),
    )


def _french() -> Iterator[Case]:
    """What staff read where French is spoken."""
    yield Case(
        "import-french",
        (
            "import registrar.csv --groups groups.csv --lang fr",
            "import registrar.csv --explain 1 --lang fr",
            "import lacking.csv --lang fr",
            "import --lang fr",
        ),
    )
    yield Case("identities-french", ("identities list --lang fr", "identities show 22700001 --lang fr"))
    yield Case(
        "desk-french",
        (
            "dead-letters list --lang fr",
            "students --state waiting --lang fr",
            "audit --limit 2 --lang fr",
            "replays --lang fr",
            "replay --consumer nobody --all --yes --lang fr",
            "audit --since yesterday --lang fr",
            f"audit verify --head {'0' * 63}1 --lang fr",
            "settings check --lang fr",
            "migrate --lang fr",
            "vault init --lang fr",
        ),
    )
    yield Case(
        "restored-french",
        (
            "restored list --all --lang fr",
            "restored open 22600009 --reason vérifié --lang fr",
            "restored list --lang fr",
        ),
        "restored",
    )
    yield Case("settings-wrong-french", ("settings check --lang fr",), "wrong")


def _servers() -> Iterator[Case]:
    """Commands that ask servers, of which none answers."""
    yield Case("doctor", ("doctor", "doctor --json"))
    yield Case(
        "doctor-french",
        (
            "doctor --lang fr",
            "provision 22600001 --explain --lang fr",
            "replay --consumer directory --student 22600001 --dry-run --lang fr",
        ),
    )
    yield Case("doctor-only", ("doctor --only store --only retries", "doctor --only processes --json"))
    yield Case("provision", ("provision 22600001", "provision 22600012 --target moodle --json"))
    yield Case("adopt", ("adopt", "adopt --json"))
    yield Case("ledger-refresh", ("ledger refresh", "ledger refresh --json"))
    yield Case("restored-check", ("restored check", "restored check --json"))
    yield Case("replay-dry-run", ("replay --consumer directory --student 22600001 --dry-run",))


def _helps(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[Case]:
    """`--help` of a command and of every one below it."""
    yield Case("-".join(("help", *path)), (" ".join((*path, "--help")),), "nothing")
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from _helps(below, (*path, name))


WITH_SERVERS = Case(
    "with-servers",
    (
        "doctor --only directory --only mailbox --only moodle --only timetable",
        "ledger refresh",
        "ledger refresh --json",
        "adopt --dry-run",
        "adopt --dry-run --json",
        "adopt",
        "adopt --json",
        "adopt questions",
        "replay --consumer directory --student 22600001 --dry-run",
        "replay --consumer directory --student 22600001 --dry-run --json",
        "provision 22600001 --explain",
        "provision 22600001 --json",
        "provision 22600001",
        "provision 22600005 --target directory --target moodle --explain --json",
        "provision 22600012 --target moodle",
        "status 22600001 --json",
        "diagnose 22600001",
        "diagnose 22600009 --json",
        "restored check",
        "restored check --json",
        "restored list",
        "audit --limit 8",
    ),
    world="real servers, on which nobody of the filled store has an account yet, and the filled store",
)
_KINDS = (
    _looks,
    _audited_looks,
    _prolonged,
    _acts,
    _imports,
    _targets,
    _tokens,
    _privacy,
    _evidence,
    _french,
    _servers,
    refusals,
)
CASES = tuple(case for kind in _KINDS for case in kind())
HELPS = tuple(_helps(main))
