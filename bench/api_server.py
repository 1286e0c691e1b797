"""Serve the API, or the registry, of a folder, by any release's code.

python bench/api_server.py (serve|apply) FOLDER
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from starlette.applications import Starlette
from starlette.routing import Mount

from pipeline.db import migrate
from pipeline.errors import SesameError
from pipeline.vault import new_key, read_keys
from sesame.app.wiring import Application, build, utc_now
from sesame.settings import load
from sesame.web.api import make_api
from sesame.web.api.scim import make_scim
from sesame.web.kit.server import Listening, WebServer

_IS_BEFORE: Final = find_spec("sesame.acts") is None
"""Whether this is the code of a release whose acts are not in rooms."""

acts: Any = import_module("sesame.operations.acts" if _IS_BEFORE else "sesame.acts.acts")
tokens: Any = import_module(f"sesame.operations{'' if _IS_BEFORE else '.programs'}.tokens")

_SETTINGS: Final = """
data_dir = "{folder}"
targets = ["moodle"]
[registrar]
profile = "pegase"
guard_share = 1.0
guard_days_share = 1.0
[registry]
mail_domain = "etu.univ-exemple.fr"
scope = "univ-exemple.fr"
[moodle]
base_url = "https://127.0.0.1:1/moodle"
token = "secret"
[console]
public_url = "http://127.0.0.1"
"""


class Unseen:
    """A `pipeline.facts.FactObserver` that ignores everything."""

    def __getattr__(self, _name: str) -> Any:
        return lambda *_seen: None


def site_of(folder: Path) -> Application:
    """The site of this folder, made if missing."""
    settings, key = folder / "sesame.toml", folder / "vault.key"
    if not settings.exists():
        for each, text in ((key, new_key()), (settings, _SETTINGS.format(folder=folder))):
            each.touch(mode=0o600)
            each.write_text(text, encoding="utf-8")
    site = build(load(settings))
    migrate.upgrade(site.database_as_it_is)
    return site


def serve(site: Application) -> None:
    """Print the address and a token, and answer until the standard input ends."""
    keys = read_keys(site.settings.vault_key_file)
    api = make_api(site, keys=keys, clock=utc_now, per_minute=10**9)
    app = Starlette(routes=[Mount("/v1", api), Mount("/scim/v2", make_scim(api.state.api, keys))])
    server = WebServer("api", app, Listening(host="127.0.0.1", port=0, taken=SesameError, remedy=""))
    server.start()
    request = getattr(tokens, "TokenAsked" if _IS_BEFORE else "CreateTokenRequest")
    asked = request(scopes=("administrator",), days=1)
    print(
        server.port, tokens.create(site, acts.Actor("bench", frozenset(acts.Role)), asked).token, flush=True
    )
    sys.stdin.read()
    server.stop()


def apply(site: Application) -> None:
    """Apply what is published until the standard input ends."""
    stopping = threading.Event()
    thread = threading.Thread(target=site.fact_loop(site.registry, Unseen()).run, args=(stopping,))
    thread.start()
    print("applying", flush=True)
    sys.stdin.read()
    stopping.set()
    thread.join()


def main(arguments: Sequence[str]) -> None:
    """The command line."""
    what, folder = arguments
    site = site_of(Path(folder))
    {"serve": serve, "apply": apply}[what](site)
    site.close()


if __name__ == "__main__":
    main(sys.argv[1:])
