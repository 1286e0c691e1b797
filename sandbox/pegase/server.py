"""Start and steer the stand-in, a separate process, from a test or a demo."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sandbox.pegase.serving import USER
from sandbox.server import Control, WebService, secret_file


class Pegase(WebService):
    """The APIs on a loopback port, with the account's password in `folder`.

    Rows and conditions are gone with the process. `url_file` is for the settings.
    """

    def __init__(self, folder: Path, *, outlives_parent: bool = False) -> None:
        super().__init__(folder, certificate=None)
        password = secret_file(folder / "password").read_text(encoding="utf-8")
        self.url_file = folder / "url"
        self.url_file.touch(mode=0o600)
        self.url_file.write_text(f"http://{USER}:{password}@127.0.0.1:{self.port}/{{module}}")
        self._control = Control(self.origin, secret_file(folder / "control-key"))
        ready = self._control.is_ready
        name = "the Pégase stand-in"
        self._process = self._runs("pegase", name=name, outlives_parent=outlives_parent, ready=ready)

    def put(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Make or change enrolments (`rows.inscription`), as now, unless they say when."""
        self._control.ask(put=list(rows))

    def give_groups(self, compositions: Iterable[Mapping[str, Any]], place: str = "ETAB00/PER-2026") -> None:
        """Set a period's groups (`rows.composition`)."""
        self._control.ask(groups={place: list(compositions)})

    def set(self, **conditions: Any) -> None:
        """Change conditions by name (`state.Conditions`)."""
        self._control.ask(set=conditions)

    def fault(self, **details: Any) -> None:
        """Let the next call meet a fault (`state.Fault`)."""
        self._control.ask(faults=[details])

    def calls(self) -> list[dict[str, str]]:
        """The APIs' calls: `module` and `query`, in order."""
        found: list[dict[str, str]] = self._control.ask()["calls"]
        return found

    def mails(self) -> dict[str, str]:
        """Institutional addresses, by student."""
        found: dict[str, str] = self._control.ask()["mails"]
        return found

    def set_ine_states(self, states: Mapping[str, str]) -> None:
        """Set the state of students' INEs; CONFIRME otherwise."""
        self._control.ask(ine_states=dict(states))

    def correct(self, mails: Mapping[str, str]) -> None:
        """Set students' institutional addresses by hand; empty: take it away."""
        self._control.ask(mails=dict(mails))

    def clear(self) -> None:
        """Forget everything."""
        self._control.ask(clear=True)
