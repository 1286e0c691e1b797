"""The socket that an HTTP server of ours listens on."""

from __future__ import annotations

import socket

from pipeline.errors import SesameError


def listener(
    host: str, port: int, *, waiting_max: int, taken: type[SesameError], remedy: str
) -> socket.socket:
    """A socket that listens.

    Args:
        host, port: where; port 0 takes a free one.
        waiting_max: how many connections may wait to be accepted.
        taken, remedy: the error that says that it cannot be listened there, and what to do.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
        made.listen(waiting_max)
    except OSError as error:
        made.close()
        message = f"cannot listen on {host} port {port}: {(error.strerror or str(error)).lower()}"
        raise taken(message, remedy=remedy) from error
    return made
