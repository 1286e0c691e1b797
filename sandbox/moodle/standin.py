"""Start and steer the stand-in, a separate process, from a test or a demo."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

from sandbox.moodle.conditions import FaultKind
from sandbox.moodle.gateway import ENDPOINT_PATH
from sandbox.ports import free_port
from sandbox.process import ManagedProcess
from sandbox.server import Control, Server, secret_file

_ROOT: Final = Path(__file__).resolve().parents[2]


class MoodleStandIn(Server):
    """One Moodle site on a loopback port, with its data and keys in `folder`.

    `port`, `token` and data stay the same from one start to the next, so `kill` followed by `start` is a
    crash and a restart. `options` are options of `python -m sandbox.moodle` with underscores, for instance
    `max_input_vars=5000` or `debug_display=True`.
    """

    def __init__(
        self, folder: Path, *, port: int | None = None, outlives_parent: bool = False, **options: object
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = port if port is not None else free_port()
        self.data_file = folder / "moodle.sqlite"
        self.token_file = secret_file(folder / "token", size=16)
        self._control_key_file = secret_file(folder / "control-key", size=16)
        self._control = Control(self.url, self._control_key_file)
        self._process = ManagedProcess(
            "the Moodle stand-in",
            [sys.executable, "-m", "sandbox.moodle", *self._arguments(options)],
            log_file=folder / "moodle.log",
            ready=self._control.is_ready,
            cwd=_ROOT,
            outlives_parent=outlives_parent,
        )

    @property
    def url(self) -> str:
        """The site's address, to which a client adds `/webservice/rest/server.php`."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def endpoint(self) -> str:
        """The address of the REST server itself."""
        return self.url + ENDPOINT_PATH

    @property
    def token(self) -> str:
        """The service user's token."""
        return self.token_file.read_text(encoding="utf-8")

    def control(self, **wish: Any) -> dict[str, Any]:
        """Send a wish to the control interface (`sandbox.moodle.control`). Return the state after it."""
        return self._control.ask(**wish)

    def set(self, **conditions: Any) -> None:
        """Change conditions by name (`sandbox.moodle.conditions.Conditions`)."""
        self.control(set=conditions)

    def fault(self, kind: FaultKind, *, calls: int = 1, **details: Any) -> None:
        """Let the next calls meet a fault, with these details (`conditions.Fault`)."""
        self.control(faults=[{"kind": kind.value, "calls": calls, **details}])

    def reset(self) -> None:
        """Restore the conditions of the start, the token and the service user."""
        self.control(reset=True, token={"restore": True}, service_user_suspended=False)

    def _arguments(self, options: dict[str, object]) -> list[str]:
        arguments = ["--port", str(self.port), "--data", str(self.data_file)]
        arguments += ["--token-file", str(self.token_file), "--control-key-file", str(self._control_key_file)]
        for name, value in options.items():
            option = f"--{name.replace('_', '-')}"
            if value is not False:
                arguments += [option] if value is True else [option, str(value)]
        return arguments
