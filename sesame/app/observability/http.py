"""The port for operators: `/metrics` for Prometheus, `/livez` and `/readyz` for supervisors.

It has no authentication and carries no personal data; it listens on loopback unless the settings say
otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Final

import structlog
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pipeline.errors import SesameError
from sesame.app.observability.metrics import Metrics
from sesame.operations.people.diagnosis.figures import PropagationFigures
from sesame.web.kit.figures import routes
from sesame.web.kit.server import Listening, WebServer

Check = Callable[[], str | None]
"""Says in a sentence what is wrong, or None. An exception counts as wrong, named by its class."""

CHECK_S_MAX: Final = 3.0
_HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_OK, _UNAVAILABLE = 200, 503


class PortTaken(SesameError):
    """The port for metrics and health cannot be listened on. Another process has it, or the address is not
    this machine's: set `http.port` and `http.host`; port 0 takes any free one."""


class HttpServer:
    """Serves metrics and health from a thread.

    Args:
        metrics: what `/metrics` shows.
        live: checks of `/livez`: one that fails says that only a restart helps.
        ready: checks of `/readyz`: one that fails says what is missing just now.
        figures: shown publicly: how fast propagations are.
        host, port: where to listen; port 0 takes a free one.
        check_s_max: a check that takes longer counts as failed.
    """

    def __init__(
        self,
        metrics: Metrics,
        *,
        live: Mapping[str, Check],
        ready: Mapping[str, Check],
        figures: Callable[[], PropagationFigures],
        host: str = "127.0.0.1",
        port: int = 0,
        check_s_max: float = CHECK_S_MAX,
    ) -> None:
        self._pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="check")
        self._check_s_max = check_s_max
        self._host = host
        self._web = WebServer(
            "http",
            self._application(metrics, live, ready, figures),
            Listening(
                host=host,
                port=port,
                grace_s=2,
                idle_s_max=5,
                taken=PortTaken,
                remedy="Set http.port and http.host to an address that is free; port 0 takes any.",
            ),
        )

    def start(self) -> None:
        """Listen, and return once requests are answered.

        Raises:
            PortTaken: the address cannot be listened on.
        """
        self._web.start()
        structlog.get_logger().info("http_listening", host=self._host, port=self.port)

    @property
    def port(self) -> int:
        """The port that is listened on; 0 before `start`."""
        return self._web.port

    def stop(self) -> None:
        """Finish running requests, stop listening, and return; harmless before the start."""
        self._web.stop()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _application(
        self,
        metrics: Metrics,
        live: Mapping[str, Check],
        ready: Mapping[str, Check],
        figures: Callable[[], PropagationFigures],
    ) -> Starlette:
        headers = {**_HEADERS, "Content-Type": CONTENT_TYPE_LATEST}
        return Starlette(
            routes=[
                Route("/metrics", lambda _request: Response(metrics.exposition(), headers=headers)),
                *routes(figures),
                Route("/livez", lambda _request: self._verdict(live)),
                Route("/readyz", lambda _request: self._verdict(ready)),
            ]
        )

    def _verdict(self, checks: Mapping[str, Check]) -> Response:
        running = {name: self._pool.submit(check) for name, check in checks.items()}
        found = {name: self._found(future) for name, future in running.items()}
        fine = all(fault is None for fault in found.values())
        body = {
            "status": "ok" if fine else "failed",
            "checks": {name: fault or "ok" for name, fault in found.items()},
        }
        return JSONResponse(body, status_code=_OK if fine else _UNAVAILABLE, headers=_HEADERS)

    def _found(self, future: Future[str | None]) -> str | None:
        try:
            return future.result(timeout=self._check_s_max)
        except FutureTimeout:
            return f"no answer within {self._check_s_max:g} s"
        except SesameError as error:
            return str(error)
        except Exception as error:  # noqa: BLE001 (a health check must answer whatever broke)
            return type(error).__name__
