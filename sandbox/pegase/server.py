"""Start and steer the stand-in, a separate process, from a test or a demo."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from sandbox.pegase.serving import CONTROL, USER
from sandbox.server import WebService, secret_file

_TIMEOUT_S: Final = 60.0


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
        self._control_key = secret_file(folder / "control-key").read_text(encoding="utf-8")
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self._process = self._runs(
            "pegase", name="the Pégase stand-in", outlives_parent=outlives_parent, ready=self._is_ready
        )

    def put(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Make or change enrolments (`rows.inscription`), as now, unless they say when."""
        self._control(put=list(rows))

    def give_groups(self, compositions: Iterable[Mapping[str, Any]], place: str = "ETAB00/PER-2026") -> None:
        """Set a period's groups (`rows.composition`)."""
        self._control(groups={place: list(compositions)})

    def set(self, **conditions: Any) -> None:
        """Change conditions by name (`state.Conditions`)."""
        self._control(set=conditions)

    def fault(self, **details: Any) -> None:
        """Let the next call meet a fault (`state.Fault`)."""
        self._control(faults=[details])

    def calls(self) -> list[dict[str, str]]:
        """The APIs' calls: `module` and `query`, in order."""
        found: list[dict[str, str]] = self._control()["calls"]
        return found

    def clear(self) -> None:
        """Forget everything."""
        self._control(clear=True)

    def _control(self, **wish: Any) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310  (the address is ours)
            self.origin + CONTROL,
            data=json.dumps(wish).encode(),
            headers={"X-Control-Key": self._control_key},
        )
        with self._opener.open(request, timeout=_TIMEOUT_S) as reply:
            state: dict[str, Any] = json.loads(reply.read())
        return state

    def _is_ready(self) -> bool:
        request = urllib.request.Request(  # noqa: S310  (the address is ours)
            self.origin + CONTROL, headers={"X-Control-Key": self._control_key}
        )
        with self._opener.open(request, timeout=_TIMEOUT_S) as reply:
            return bool(reply.status == HTTPStatus.OK)
