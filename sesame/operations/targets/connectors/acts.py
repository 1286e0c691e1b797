"""List connectors, make a new one, and run the suite on one."""

from __future__ import annotations

import json
import keyword
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, StringConstraints

from consumers.kit import registration
from consumers.kit.connector import ConnectorUnusable
from consumers.kit.registration import Choice
from pipeline import audit
from pipeline.errors import SesameError
from sesame.acts import acts
from sesame.acts.acts import EVERYBODY, OPERATORS, Actor, ActPath, Report, act
from sesame.acts.ports import Configured, HasSettings

CHECKED: Final = "connector.check"

_TEMPLATE: Final = Path(__file__).with_name("template")
_FILES: Final = {
    "connector.txt": "{name}.py",
    "test.txt": "test_{name}.py",
    "project.txt": "pyproject.toml",
}
_SAMPLE: Final = "library"
_CHECK_S_MAX: Final = 1800


class FileExists(SesameError):
    """A file of this name exists, and is left as it is. Nothing was written."""

    exit_code = 2


class NotChecked(SesameError):
    """The suite could not be run."""


class ObservedOnly(SesameError):
    """This target is only observed (its setting `mode`), and the suite writes to it. Nothing was sent. Check
    a copy of it, or set its `mode` to `write`."""

    exit_code = 2


class ConnectorLine(Report):
    """One connector.

    Attributes:
        name: of the connector, or of the settings' section that is one.
        package: its distribution, with the version.
        level: its quality level, as it declares it; None: it declares none.
        product, on: the real product that it was last proven on by its author, and the day; empty: none.
        follows: the target that it waits for; None: none.
        proven: the checks that it passed when `sesame connector check` was last run here.
        fault: why it cannot be used; empty: it can.
    """

    name: str
    package: str
    level: str | None
    product: str
    on: date | None
    follows: str | None
    verbs: tuple[str, ...]
    proven: tuple[str, ...]
    fault: str = ""


class NewConnectorRequest(BaseModel):
    """A connector's name, and the folder to make for it."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,30}$")]
    folder: Path


class ConnectorWritten(Report):
    """The files that were written."""

    files: list[Path]


class ConnectorCheckRequest(BaseModel):
    """The section of the settings to check, and the file of the settings.

    `clean`: only erase what earlier checks have left.
    """

    name: str
    config: Path | None = None
    clean: bool = False


class FailedCheck(Report):
    """A check that a connector did not pass, and its finding."""

    check: str
    message: str


class SkippedCheck(Report):
    """A check that does not apply to this connector, and why."""

    check: str
    reason: str


class ConnectorCheckReport(Report):
    """The number of passed checks, and the others.

    `left`: what the target still has of the suite's, in its own words.
    """

    passed: int
    failed: list[FailedCheck]
    skipped: list[SkippedCheck]
    left: tuple[str, ...] = ()


@act("connector.list", EVERYBODY, path=ActPath("show_connectors", "GET", "/connectors"))
def list_connectors(site: Configured, _actor: Actor, proven: bool = True) -> list[ConnectorLine]:  # noqa: FBT001, FBT002
    """Every installed connector, and every section of the settings that is one.

    Args:
        proven: look up what was proven here, in the store.
    """
    known = registration.installed()
    named = {name: Choice.of(name) for name in known} | dict(site.settings.connectors)
    found = _proven(site) if proven else {}
    return [_line(name, choice, found.get(name, ())) for name, choice in sorted(named.items())]


@act("connector.new", EVERYBODY)
def new(_site: HasSettings, _actor: Actor, request: NewConnectorRequest) -> ConnectorWritten:
    """Write a connector and its test, which pass at once, into a new folder.

    Raises:
        ConnectorUnusable: this cannot be a connector's name.
        FileExists: a file of it exists; nothing was written.
    """
    name = request.name
    if keyword.iskeyword(name) or name in sys.stdlib_module_names or name in registration.installed():
        raise ConnectorUnusable(f"{name!r} is taken", remedy="Give the connector another name.")
    texts = {
        request.folder / target.format(name=name): _named(name, _TEMPLATE / source)
        for source, target in _FILES.items()
    }
    if there := [path for path in texts if path.exists()]:
        raise FileExists(f"{there[0]} exists; nothing was written", remedy="Name another folder (--folder).")
    request.folder.mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    return ConnectorWritten(files=list(texts))


@act("connector.check", OPERATORS)
def check(site: Configured, actor: Actor, request: ConnectorCheckRequest) -> ConnectorCheckReport:
    """Run the suite on a configured target, with accounts made for it.

    They are erased where the connector can. Nothing is made where the target would let none be erased.

    Raises:
        ConnectorUnusable: there is no such connector, or it cannot be used.
        ObservedOnly: nothing may be written there.
        NotChecked: the suite could not be run.
    """
    chosen = site.settings.connector_of(request.name)
    if chosen.fault is not None:
        raise chosen.fault
    section = getattr(site.settings, request.name, None)
    if section is None:
        raise NotChecked(
            f"the settings have no section [{request.name}]",
            remedy=f"Write one into the settings' file; {request.name} need not be among the targets yet.",
        )
    if section.mode == "observe":
        raise ObservedOnly
    acts.note(site.database, actor, "connector.check.begin", target=request.name, clean=request.clean)
    given = [] if request.config is None else ["--config", str(request.config)]
    given += ["--clean"] if request.clean else []
    command = [sys.executable, "-m", "sesame.testing.connector", request.name, *given]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_CHECK_S_MAX, check=False)
        said = json.loads(done.stdout)
        if "error" in said:
            raise NotChecked(said["error"], remedy=said["remedy"])
        report, passed = ConnectorCheckReport.model_validate(said["report"]), said["passed"]
    except (ValueError, KeyError, OSError, subprocess.TimeoutExpired) as error:
        raise NotChecked(
            f"the suite could not be run: {type(error).__name__}",
            remedy=f"Run it by hand, and read what it says: {' '.join(command)}. What it has left is erased "
            f"by `sesame connector check {request.name} --clean`.",
        ) from error
    if not request.clean:
        acts.note(site.database, actor, CHECKED, target=request.name, passed=passed)
    return report


def _line(name: str, choice: Choice, proven: tuple[str, ...]) -> ConnectorLine:
    run = registration.ProvenRun() if choice.connector is None else registration.proof(choice.connector)
    package = registration.package_of(choice.connector) if choice.connector is not None else ""
    return ConnectorLine(
        name=name,
        package=package,
        level=choice.connector.level if choice.connector is not None else None,
        product=run.product,
        on=run.on,
        follows=choice.connector.follows if choice.connector is not None else None,
        verbs=choice.connector.verbs() if choice.connector is not None else (),
        proven=proven,
        fault=str(choice.fault or ""),
    )


def _proven(site: Configured) -> dict[str, tuple[str, ...]]:
    """The checks that each connector passed in its last run here."""
    found: dict[str, tuple[str, ...]] = {}
    with site.database.read() as connection:
        for entry in audit.entries(connection, action=CHECKED, limit=1000):  # the newest first
            if entry.action == CHECKED:  # and not a check begun
                found.setdefault(entry.detail["target"], tuple(entry.detail["passed"]))
    return found


def _named(name: str, template: Path) -> str:
    classes = "".join(map(str.capitalize, name.split("_")))
    text = template.read_text(encoding="utf-8").replace("La bibliothèque", f"Le service {name}")
    return text.replace(_SAMPLE.capitalize(), classes).replace(_SAMPLE, name)
