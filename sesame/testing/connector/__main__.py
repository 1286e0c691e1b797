"""The suite on a configured target: `sesame connector check` starts it, and reads its JSON."""

from __future__ import annotations

import argparse
import json
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from consumers.kit.deadline import Deadline
from pipeline.db import migrate
from pipeline.db.database import Database
from pipeline.errors import SesameError, told
from sesame.app.targets import site_facts
from sesame.settings import load
from sesame.testing.connector.bench import READ_S_MAX, ConnectorBench, Skipped
from sesame.testing.connector.checks import CHECKS

_FIRST = next(iter(CHECKS))
"""The probe: where it fails, each other check would say the same."""

_UNDER_TLS = (
    "the target is under TLS, and no fault of a network can be put in between: the author's own tests do it"
)


def bench_of(name: str, config: Path | None, store: Path) -> ConnectorBench:
    """The connector of this section of the settings, on its true target; what it has to remember goes to a
    store of the check's own, at `store`."""
    settings = load(config)
    database = Database(f"sqlite:///{store}")
    migrate.upgrade(database)
    chosen = settings.connector_of(name)
    assert chosen.connector is not None, chosen.fault
    section = getattr(settings, name)
    values = section.model_dump()
    url = urlsplit(str(values.get("url") or values.get("uri") or ""))
    plain = url.scheme in ("http", "ldap")  # under TLS no relay can stand in between
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
    """Run every check, erase what was made, and write what was found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--config", type=Path)
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        check_all(given.name, given.config, Path(folder) / "store.db")


def check_all(name: str, config: Path | None, store: Path) -> None:
    """The same, with the check's own store at `store`."""
    try:
        bench = bench_of(name, config, store)
        with bench.connected():
            pass
    except SesameError as error:
        print(json.dumps({"error": str(error), "remedy": error.remedy}))  # noqa: T201 (a program's answer)
        return
    passed: list[str] = []
    failed: list[dict[str, str]] = []
    skipped: list[dict[str, str]] = []
    for check_name, check in CHECKS.items():
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
        except Exception as error:  # noqa: BLE001 (somebody else's code: the other checks are run)
            failed.append({"check": check_name, "message": f"{type(error).__name__}: {error}"})
        else:
            passed.append(check_name)
    clean(bench)
    report = {"passed": len(passed), "failed": failed, "skipped": skipped}
    print(json.dumps({"report": report, "passed": passed}))  # noqa: T201 (a program's answer)


def clean(bench: ConnectorBench) -> None:
    """Erase what the checks made, where the connector can."""
    if "erase" not in bench.connector.verbs():
        return
    with bench.connected() as connector:
        for account in bench.made:
            with suppress(Exception):
                connector.erase(bench.seen(account), Deadline.after(READ_S_MAX))


if __name__ == "__main__":
    main()
