"""In front of PHP: nginx and php-fpm, with their time-outs, and a test's faults."""

from __future__ import annotations

import threading
from http import HTTPStatus
from typing import Final

from sandbox.moodle.call import WorkerKilled
from sandbox.moodle.conditions import Conditions, Fault, FaultKind, SiteState
from sandbox.moodle.control import ControlEndpoint
from sandbox.moodle.phpform import PhpArray, parse_body, parse_query
from sandbox.moodle.service import RestServer
from sandbox.moodle.web import HANG_UP, Reply, Request, error_page
from sandbox.server import CONTROL

ENDPOINT_PATH: Final = "/webservice/rest/server.php"

_HTML: Final = "text/html; charset=utf-8"


class Gateway:
    """Routes a request to the REST server or to the control interface."""

    def __init__(self, rest: RestServer, control: ControlEndpoint, state: SiteState) -> None:
        self._rest = rest
        self._control = control
        self._state = state

    def answer(self, request: Request) -> Reply:
        """Return the reply; the function's commits stay, even if the client gets an error."""
        if request.path == CONTROL:
            return self._control.answer(request)
        if request.path != ENDPOINT_PATH:
            return error_page(HTTPStatus.NOT_FOUND)
        conditions = self._state.conditions
        variables = _variables(request, conditions)
        name = variables.get("wsfunction")
        fault = self._state.take_fault(name if isinstance(name, str) else "")
        if conditions.fpm_down:
            return error_page(HTTPStatus.BAD_GATEWAY)
        instead = _instead_of_execution(fault)
        if instead is not None:
            return instead
        reply = self._run(variables, request.client_address, conditions, fault)
        return _after_execution(fault) or reply

    def _run(
        self, variables: PhpArray, client_address: str, conditions: Conditions, fault: Fault | None
    ) -> Reply:
        if conditions.proxy_timeout_s is None:
            return self._execute(variables, client_address, fault)
        replies: list[Reply] = []
        worker = threading.Thread(
            target=lambda: replies.append(self._execute(variables, client_address, fault))
        )
        worker.start()
        worker.join(conditions.proxy_timeout_s)
        if worker.is_alive():
            return error_page(HTTPStatus.GATEWAY_TIMEOUT, "Gateway Time-out")  # PHP carries on
        return replies[0]

    def _execute(self, variables: PhpArray, client_address: str, fault: Fault | None) -> Reply:
        try:
            return self._rest.answer(variables, client_address, fault)
        except WorkerKilled:
            return error_page(HTTPStatus.BAD_GATEWAY)


def _variables(request: Request, conditions: Conditions) -> PhpArray:
    post = parse_body(
        request.body,
        request.headers.get("content-type", ""),
        max_input_vars=conditions.max_input_vars,
        post_max_size_bytes=conditions.post_max_size_bytes,
    )
    return {**parse_query(request.query, conditions.max_input_vars), **post}


def _instead_of_execution(fault: Fault | None) -> Reply | None:
    if fault is None:
        return None
    retry_after = {} if fault.retry_after_s is None else {"Retry-After": str(fault.retry_after_s)}
    match fault.kind:
        case FaultKind.UNAVAILABLE:
            return error_page(HTTPStatus.SERVICE_UNAVAILABLE, "Service Temporarily Unavailable", retry_after)
        case FaultKind.BAD_GATEWAY:
            return error_page(HTTPStatus.BAD_GATEWAY, headers=retry_after)
        case FaultKind.SERVER_ERROR:
            return Reply(500, _HTML)
        case FaultKind.EMPTY_BODY:
            return Reply(200, _HTML)
        case FaultKind.HANG_UP:
            return HANG_UP
        case _:
            return None


def _after_execution(fault: Fault | None) -> Reply | None:
    if fault is None:
        return None
    match fault.kind:
        case FaultKind.GATEWAY_TIMEOUT_AFTER_COMMIT:
            return error_page(HTTPStatus.GATEWAY_TIMEOUT, "Gateway Time-out")
        case FaultKind.HANG_UP_AFTER_COMMIT:
            return HANG_UP
        case FaultKind.EMPTY_BODY_AFTER_COMMIT:
            return Reply(200, _HTML)
        case _:
            return None
