"""`sesame console`: serves the operators' console and the API, no student pages.

The console may change much, and is reached from few networks; the students' pages are open to the whole
world, and so may do little. See ADR 44.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Final

import structlog
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp

from pipeline.errors import NotInstalled, SesameError, told
from pipeline.vault import read_keys
from sesame.app import cas
from sesame.app.lazy import lazily
from sesame.app.wiring import Application, utc_now
from sesame.operations.people.diagnosis.figures import Figures
from sesame.web.api import API_PREFIX, make_api
from sesame.web.api.routes import SCIM_PREFIX, Api
from sesame.web.console import PREFIX, ConsoleContext, make_console
from sesame.web.kit import figures
from sesame.web.kit.server import Listening, WebServer

with lazily():
    from sesame.web.api import scim

CONNECTIONS_MAX: Final = 256


class ConsolePortTaken(SesameError):
    """The console cannot be listened for on this address. Another process has it, or it is not this
    machine's: set `console.host` and `console.port`."""


def serve(application: Application, stopping: threading.Event) -> None:
    """Serve the console and the API until `stopping` is set.

    Raises:
        ConsolePortTaken: the address cannot be listened on.
        StoreUnavailable, StoreNotMigrated, StoreFromTheFuture: the store cannot be used.
        VaultKeyError: the vault's key cannot be used.
    """
    application.database  # noqa: B018 (a store that cannot be used ends the start, not each request)
    settings = application.settings.console
    context = console_context(application, stopping)
    server = WebServer(
        "console",
        application.traced(make_app(application, context)),
        Listening(
            host=settings.host,
            port=settings.port,
            tls_cert_file=settings.tls_cert_file,
            tls_key_file=settings.tls_key_file,
            connections_max=CONNECTIONS_MAX,
            proxies=settings.networks(settings.trusted_proxies),
            taken=ConsolePortTaken,
            remedy="Set console.port and console.host to an address that is free.",
        ),
    )
    server.start()
    if context is not None:
        shared = (context.overview, context.forecast, context.cohorts)
        for keep in (*(each.keep for each in shared), context.kept.keep_swept):
            threading.Thread(target=keep, args=(stopping,), name="keep", daemon=True).start()
    with suppress(NotInstalled):
        answers = scim.LateAnswers(application, settings.origin + SCIM_PREFIX)
        threading.Thread(target=answers.keep, args=(stopping,), name="late-answers", daemon=True).start()
    structlog.get_logger().info("console_listening", host=settings.host, port=server.port)
    try:
        while not stopping.wait(0.5) and server.alive:
            pass
    finally:
        server.stop()


def console_context(application: Application, stopping: threading.Event) -> ConsoleContext | None:
    """The context of the console's pages; None: no CAS server to log in by. `stopping` closes open pages.

    Raises:
        VaultKeyError: the vault's key cannot be used.
    """
    settings = application.settings
    login = cas.console(settings, application.database)
    if login is None:
        structlog.get_logger().warning("console_without_cas", reason="cas.server_url is not set")
        return None
    return ConsoleContext(application, *login, read_keys(settings.vault_key_file), stopping)


def make_app(application: Application, context: ConsoleContext | None) -> Starlette:
    """Return the application with all that is served; raises `VaultKeyError`."""
    settings = application.settings
    keys = read_keys(settings.vault_key_file)
    api = make_api(application, keys=keys, clock=utc_now)
    routes: list[BaseRoute] = [
        Route("/", lambda _request: RedirectResponse(f"{PREFIX}/", status_code=307)),
        Route("/livez", lambda _request: PlainTextResponse("ok\n")),
        *figures.routes(Figures(application.database, settings.targets, settings.propagation).now),
        Mount(API_PREFIX, api),
        Mount(SCIM_PREFIX, _scim(api.state.api, keys)),
    ]
    if context is not None:
        routes.append(Mount(PREFIX, make_console(context)))
    return Starlette(routes=routes)


def _scim(api: Api, keys: list[str]) -> ASGIApp:
    """SCIM, or why it is not there."""
    try:
        return scim.make_scim(api, keys)
    except NotInstalled as missing:
        return PlainTextResponse(f"{told(missing)}\n", status_code=501)
