"""Faults of a network and of a server, put between a connector and its target."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any, Self

from consumers.kit.connector import Anything
from sesame.testing.relay import Cut, Relay

RETRY_AFTER_S = 7


class Fault(Enum):
    """A fault of a call that writes."""

    RESET = "the connection breaks after the target has carried it out"
    HANG = "the target carries it out and never answers"
    HALF = "half of the answer comes"
    THROTTLE = "429 with Retry-After, and nothing is carried out"
    LIE = "an answer that says it was carried out, and it was not"


HTTP_ONLY = frozenset({Fault.THROTTLE, Fault.LIE})


class FaultProxy:
    """Relays to a target unchanged until a fault is armed.

    A fault is for the calls within `apply` and `close`: reading stays as it is, so that a reported state can
    be compared with the real one.
    """

    def __init__(self, address: str) -> None:
        self.armed: Fault | None = None
        self.struck = 0
        self.writes = 0
        self._writing = threading.Event()
        self._last = b""
        self._relay = Relay(address, lambda _relay: _Wire(self))

    @property
    def address(self) -> str:
        return self._relay.address

    def __enter__(self) -> Self:
        self._relay.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._relay.__exit__()

    def watch(self, connector: Anything) -> None:
        for verb in ("apply", "close"):
            setattr(connector, verb, self._while_writing(getattr(connector, verb)))

    @property
    def writing(self) -> bool:
        return self._writing.is_set()

    def answered(self, piece: bytes) -> None:
        self._last += piece

    def asked(self) -> None:
        self._last = b""

    @property
    def last(self) -> bytes:
        return self._last

    def _while_writing(self, verb: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any) -> Any:
            self.writes += 1
            self._writing.set()
            try:
                return verb(*args)
            finally:
                self._writing.clear()

        return called


class _Wire:
    def __init__(self, proxy: FaultProxy) -> None:
        self._proxy = proxy
        self._held = b""
        self._handshake = _Handshake()

    def asked(self, piece: bytes) -> bytes:
        proxy = self._proxy
        self._handshake.asked(piece)
        if not proxy.writing or proxy.armed not in HTTP_ONLY:
            if proxy.writing and not self._held:
                proxy.asked()
            return piece
        self._held += piece
        if not _whole(self._held):
            return b""
        request, self._held = self._held, b""
        if request.split(b" ", 1)[0] in (b"GET", b"HEAD", b"OPTIONS"):
            return request  # a read before a write gets the true state
        proxy.struck += 1
        raise Cut(_THROTTLED if proxy.armed is Fault.THROTTLE else proxy.last)

    def answered(self, piece: bytes) -> bytes:
        proxy = self._proxy
        self._handshake.answered(piece)
        if not proxy.writing or proxy.armed is None or not self._handshake.over:
            if proxy.writing:
                proxy.answered(piece)
            return piece
        if proxy.armed in HTTP_ONLY:
            return piece
        proxy.struck += 1
        if proxy.armed is Fault.HANG:
            return b""
        raise Cut(piece[: len(piece) // 2] if proxy.armed is Fault.HALF else b"")


class _Handshake:
    """Detects by TLS records (RFC 8446, 5.1) when a request was sent.

    A connection that breaks before has carried nothing out. Without TLS there is no handshake.
    """

    def __init__(self) -> None:
        self._asked, self._answered = b"", b""
        self._tls: bool | None = None
        self._before, self._data = 1, 0

    def asked(self, piece: bytes) -> None:
        if self._tls is None:
            self._tls = piece[:1] == _HANDSHAKE
        if self._tls:
            kinds, self._asked = _records(self._asked + piece)
            self._data += kinds.count(_DATA)

    def answered(self, piece: bytes) -> None:
        if self._tls:
            kinds, self._answered = _records(self._answered + piece)
            if _DATA in kinds and not self._data:
                self._before = 2  # from TLS 1.3 on the handshake's end is such a record too

    @property
    def over(self) -> bool:
        """True if a request was sent."""
        return not self._tls or self._data >= self._before


_HANDSHAKE, _DATA = b"\x16", 0x17
_HEAD_BYTES = 5


def _records(stream: bytes) -> tuple[list[int], bytes]:
    """The kinds of the whole records in a stream, and what is left of it."""
    kinds: list[int] = []
    while len(stream) >= _HEAD_BYTES:
        end = _HEAD_BYTES + int.from_bytes(stream[3:5])
        if len(stream) < end:
            break
        kinds.append(stream[0])
        stream = stream[end:]
    return kinds, stream


_THROTTLED = (
    b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: %d\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    % RETRY_AFTER_S
)


def _whole(request: bytes) -> bool:
    """Whether a request of HTTP/1.1 is complete (RFC 9112, 6)."""
    head, blank, body = request.partition(b"\r\n\r\n")
    if not blank:
        return False
    for line in head.lower().split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name == b"content-length":
            return len(body) >= int(value)
        if name == b"transfer-encoding":
            return body.endswith(b"0\r\n\r\n")
    return True


@contextmanager
def impostor(folder: Path) -> Iterator[tuple[str, list[bytes]]]:
    """A server with an untrusted certificate: its address, and the secrets received."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_certificate(folder))
    told: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def listen() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                client.settimeout(5)
                with suppress(OSError), client, context.wrap_socket(client, server_side=True) as secured:
                    told.append(secured.recv(65_536))

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield f"localhost:{listener.getsockname()[1]}", told
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def _certificate(folder: Path) -> Path:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "impostor.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path
