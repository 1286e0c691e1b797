"""The API on the filled store: a client, and tokens for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
from starlette.applications import Starlette
from starlette.routing import Mount

from pipeline.db import migrate
from pipeline.errors import SesameError
from pipeline.vault import read_keys
from sesame.acts.acts import Actor, Role
from sesame.app.console import CONNECTIONS_MAX
from sesame.app.wiring import Application, build, utc_now
from sesame.operations.programs import tokens
from sesame.operations.programs.tokens import CreateTokenRequest
from sesame.operations.work.canary import runs
from sesame.operations.work.canary.runs import CanaryStep
from sesame.settings import load
from sesame.web.api import make_api
from sesame.web.api.api_app import API_PREFIX
from sesame.web.api.routes import SCIM_PREFIX
from sesame.web.api.scim import make_scim
from sesame.web.kit.server import Listening, WebServer
from tests import filled_store

HOST: Final = "sesame.univ-exemple.fr"
CAMILLE: Final = Actor("camille", frozenset(Role))
COMPLETED, WAITING, FAILED, PRECREATED = "22600001", "22600005", "22600012", "22600020"
"""Students of the filled store."""

_CORPUS: Final = Path(__file__).parents[2] / "cli"
_KEY: Final = "c2VzYW1lIGNvcnB1cyBvZiB0aGUgY29tbWFuZHMhISE=\n"


@dataclass
class Ticking:
    """A clock that is told."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class ApiWorld:
    """An API, and who asks it."""

    site: Application
    client: httpx.Client
    url: str
    ticking: Ticking
    _tokens: dict[tuple[str, ...], str] = field(default_factory=dict)

    def token(self, *scopes: str) -> str:
        """A token with these scopes."""
        if scopes not in self._tokens:
            asked = CreateTokenRequest(scopes=scopes, days=1, name="test")
            self._tokens[scopes] = tokens.create(self.site, CAMILLE, asked).token
        return self._tokens[scopes]

    def ask(
        self,
        method: str,
        path: str,
        *scopes: str,
        token: str | None = None,
        headers: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> httpx.Response:
        """Ask as a bearer of these scopes, or with this token."""
        given = token if token is not None else self.token(*scopes or ("administrator",))
        said = {"Authorization": f"Bearer {given}", **(headers or {})}
        url = path if path.startswith((API_PREFIX, SCIM_PREFIX)) else f"{API_PREFIX}{path}"
        return self.client.request(method, url, headers=said, **options)

    def get(self, path: str, *scopes: str, **options: Any) -> httpx.Response:
        """Look."""
        return self.ask("GET", path, *scopes, **options)

    def post(self, path: str, *scopes: str, **options: Any) -> httpx.Response:
        """Act."""
        return self.ask("POST", path, *scopes, **options)


@contextmanager
def api_world(
    folder: Path,
    url: str,
    *,
    per_minute: int = 100_000,
    again: bool = False,
    more: str = "",
    registrar: str = "",
    port: int = 0,
) -> Iterator[ApiWorld]:
    """The API on a database that has no tables yet; or `again`, in the same folder. `more`: of [console];
    `registrar`: of that section; `port`: where it is asked by its own address, and not behind a proxy."""
    data = folder / "data"
    data.mkdir(exist_ok=again)
    for name in ("vault.key", "privacy.key"):
        (data / name).write_text(_KEY, encoding="ascii")
        (data / name).chmod(0o600)
    text = (_CORPUS / "sesame.toml").read_text(encoding="utf-8").replace('"data"', f'"{data}"')
    text = text.replace("[registrar]\n", f"[registrar]\n{registrar}")
    host = f"127.0.0.1:{port}" if port else HOST
    origin = f"http://{host}" if port else f"https://{host}"
    file = folder / "sesame.toml"
    text += f'\n[store]\nurl = "{url}"\n[console]\npublic_url = "{origin}"\n{more}'
    file.write_text(text, encoding="utf-8")
    file.chmod(0o600)
    if not again:
        filled_store.put(url)
    site = build(load(file))
    migrate.upgrade(site.database_as_it_is)
    with site.database_as_it_is.write() as connection:
        runs.save(connection, [CanaryStep(name="login", seconds=0.225, ok=True)], 1_795_746_700.0)
    ticking = Ticking()
    keys = read_keys(site.settings.vault_key_file)
    api = make_api(site, keys=keys, clock=utc_now, monotonic=ticking, per_minute=per_minute)
    scim = make_scim(api.state.api, keys)
    app = Starlette(routes=[Mount(API_PREFIX, api), Mount(SCIM_PREFIX, scim)])
    listening = Listening(
        host="127.0.0.1", port=port, connections_max=CONNECTIONS_MAX, taken=SesameError, remedy=""
    )
    server = WebServer("api", app, listening)
    server.start()
    url = f"http://127.0.0.1:{server.port}"
    try:
        with httpx.Client(base_url=url, headers={"Host": host}, timeout=60.0, trust_env=False) as client:
            yield ApiWorld(site, client, url, ticking)
    finally:
        server.stop()
        site.close()
