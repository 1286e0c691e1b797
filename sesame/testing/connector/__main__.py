"""The suite on a configured target, run by `sesame connector check` for its JSON."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from consumers.kit.connector import TargetObject
from consumers.kit.deadline import Deadline
from pipeline.db import migrate
from pipeline.db.database import Database
from pipeline.errors import SesameError, told
from sesame.app.targets import site_facts
from sesame.settings import load
from sesame.testing.connector.bench import GROUP, OURS, READ_S_MAX, ConnectorBench, Skipped
from sesame.testing.connector.checks import CHECKS, Check

_FIRST = next(iter(CHECKS))
"""The probe: where it fails, each other check would say the same."""

_UNDER_TLS = (
    "the target is under TLS, and no fault of a network can be put in between: the author's own tests do it"
)


def bench_of(name: str, config: Path | None, store: Path) -> ConnectorBench:
    """The connector of this section, on its real target, with the check's store."""
    settings = load(config)
    database = Database(f"sqlite:///{store}")
    migrate.upgrade(database)
    chosen = settings.connector_of(name)
    assert chosen.connector is not None, chosen.fault
    section = getattr(settings, name)
    values = section.model_dump()
    url = urlsplit(str(values.get("url") or values.get("uri") or ""))
    plain = url.scheme in ("http", "ldap")  # under TLS no relay can be in between
    given = url.netloc if plain else ""
    return ConnectorBench(
        connector=chosen.connector,
        settings=lambda address: {
            key: value.replace(url.netloc, address) if isinstance(value, str) and given else value
            for key, value in values.items()
        },
        address=given,
        protocol="tcp" if url.scheme == "ldap" else "http",
        domain=settings.registry.mail_domain,
        name=name,
        no_faults=_UNDER_TLS if url.netloc and not plain else ConnectorBench.no_faults,
        site=site_facts(settings, database),
    )


def main() -> None:
    """Run every check, erase what was made, and write the results and what is left."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--config", type=Path)
    parser.add_argument("--clean", action="store_true", help="only erase what an earlier run has left")
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        check_all(given.name, given.config, Path(folder) / "store.db", {} if given.clean else CHECKS)


def check_all(name: str, config: Path | None, store: Path, checks: Mapping[str, Check]) -> None:
    """Run the checks with their store at `store`; none if accounts cannot be erased."""
    try:
        bench = bench_of(name, config, store)
        with bench.connected() as connector:
            if "erase" in bench.connector.verbs():
                connector.probe_erasing()
    except SesameError as error:
        print(json.dumps({"error": str(error), "remedy": error.remedy}))  # noqa: T201 (a program's answer)
        return
    passed: list[str] = []
    failed: list[dict[str, str]] = []
    skipped: list[dict[str, str]] = []
    for check_name, check in checks.items():
        if any(each["check"] == _FIRST for each in failed):
            skipped.append({"check": check_name, "reason": "the probe failed"})
            continue
        try:
            check(bench)
        except Skipped as reason:
            skipped.append({"check": check_name, "reason": str(reason)})
        except SesameError as error:
            failed.append({"check": check_name, "message": told(error)})
        except AssertionError as error:
            failed.append({"check": check_name, "message": str(error)})
        except Exception as error:  # noqa: BLE001 (another package's code: the other checks are run)
            failed.append({"check": check_name, "message": f"{type(error).__name__}: {error}"})
        else:
            passed.append(check_name)
    report = {"passed": len(passed), "failed": failed, "skipped": skipped, "left": clean(bench)}
    print(json.dumps({"report": report, "passed": passed}))  # noqa: T201 (a program's answer)


def clean(bench: ConnectorBench) -> list[str]:
    """Erase what this and earlier runs made, where possible; describe what is left."""
    try:
        if "erase" in bench.connector.verbs():
            with bench.connected() as connector:
                for one in _left(bench):
                    with suppress(Exception):
                        connector.erase([one], Deadline.after(READ_S_MAX))
        left = [f"{one.ref} ({one.student_number})" for one in _left(bench)]
        with bench.connected() as connector:
            return left + list(connector.remove_groups([GROUP]))
    except SesameError as error:
        return [told(error)]


def _left(bench: ConnectorBench) -> list[TargetObject]:
    """The objects of the suite's accounts; of a target that lists none, those of this run."""
    if "objects" not in bench.connector.verbs():
        return [one for account in bench.made for one in bench.seen(account)]
    with bench.connected() as connector:
        return [one for one in connector.objects() if any(map(OURS.fullmatch, _names(one)))]


def _names(one: TargetObject) -> Iterator[str]:
    """An object's number, login and the local parts of its addresses."""
    yield one.student_number
    yield from (value.partition("@")[0] for _, value in one.names)


if __name__ == "__main__":
    main()
