"""A message over LMTP: what is said to the server, in what time, and what each reply and each break means."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Callable
from typing import Any

import pytest

from consumers.kit.connector import Refused
from consumers.kit.deadline import Deadline
from consumers.mailbox.commands import LOST
from consumers.mailbox.lmtp import Lmtp, Outcome, outcome_of
from consumers.mailbox.mailbox import FULL
from pipeline.errors import Misconfigured, TargetDown

SENDER, ZOE, MESSAGE = "retours@univ-exemple.fr", "zoe.lefevre@univ-exemple.fr", b"Subject: x\r\n\r\ny\r\n"
CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
USUAL = {"STARTTLS": (220, b"go"), "RCPT": (250, b"2.1.5 OK")}


class Server:
    """What stands in the place of smtplib's connections.

    Attributes:
        said: every command with what it carried, of all connections in order.
        waits: the time-outs of the socket, in order.
        offers_tls: whether STARTTLS is among its extensions.
        replies: instead of the usual one, by command; an exception is raised; a callable is called first.
    """

    def __init__(self) -> None:
        self.said: list[tuple[Any, ...]] = []
        self.waits: list[float | None] = []
        self.made: list[tuple[Any, dict[str, Any]]] = []
        self.clients: list[Client] = []
        self.offers_tls = True
        self.replies: dict[str, Any] = {}

    def connect(self, host: str, port: int, **settings: Any) -> Client:
        self.made.append(((host, port), settings))
        self.reply("CONNECT")
        self.clients.append(Client(self))
        return self.clients[-1]

    def reply(self, command: str, *carried: Any) -> tuple[int, bytes]:
        self.said.append((command, *carried))
        reply = self.replies.get(command)
        if callable(reply):
            reply = reply()
        if isinstance(reply, BaseException):
            raise reply
        found: tuple[int, bytes] = reply or USUAL.get(command, (250, b"2.0.0 OK"))
        return found


class Client:
    """One connection."""

    def __init__(self, server: Server) -> None:
        self.server, self.closed, self.sock = server, False, self

    def settimeout(self, seconds: float | None) -> None:
        self.server.waits.append(seconds)

    def has_extn(self, name: str) -> bool:
        return name.lower() == "starttls" and self.server.offers_tls

    def ehlo_or_helo_if_needed(self) -> None:
        self.server.reply("LHLO")

    def starttls(self, *, context: ssl.SSLContext) -> tuple[int, bytes]:
        return self.server.reply("STARTTLS", context)

    def mail(self, sender: str) -> tuple[int, bytes]:
        return self.server.reply("MAIL", sender)

    def rcpt(self, recipient: str) -> tuple[int, bytes]:
        return self.server.reply("RCPT", recipient)

    def data(self, message: bytes) -> tuple[int, bytes]:
        return self.server.reply("DATA", message)

    def rset(self) -> tuple[int, bytes]:
        return self.server.reply("RSET")

    def quit(self) -> None:
        self.server.reply("QUIT")

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server()
    monkeypatch.setattr(smtplib, "LMTP", server.connect)
    return server


def lmtp(host: str = "mail.example") -> Lmtp:
    return Lmtp(host, 24, sender=SENDER, context=CONTEXT, local_hostname="sesame.example")


def ten_seconds() -> Deadline:
    return Deadline(at=10.0, monotonic=lambda: 0.0)


def deliver(to: Lmtp | None = None, deadline: Deadline | None = None) -> Outcome:
    return (to or lmtp()).deliver(ZOE, MESSAGE, deadline or ten_seconds())


def deferred(codes: str) -> Refused:
    return Refused("delivery_deferred", f"the mail server defers the welcome message (LMTP {codes})")


def refused(codes: str) -> Refused:
    why = f"the mail server refuses the welcome message (LMTP {codes})"
    return Refused("welcome_refused", why, lasting=True)


def test_the_message_goes_to_the_service_over_tls_with_its_own_sender(server: Server) -> None:
    assert deliver() is None
    assert server.made == [(("mail.example", 24), {"local_hostname": "sesame.example", "timeout": 10.0})]
    assert server.said[1:] == [
        ("LHLO",),
        ("STARTTLS", CONTEXT),
        ("LHLO",),
        ("MAIL", SENDER),
        ("RCPT", ZOE),
        ("DATA", MESSAGE),
    ]


def test_each_command_gets_what_is_left_of_the_time(server: Server) -> None:
    now = iter(float(second) for second in range(10))
    deliver(deadline=Deadline(at=10.0, monotonic=lambda: next(now)))
    assert server.made[0][1]["timeout"] == 10.0
    assert server.waits == [9.0, 8.0, 7.0, 6.0, 5.0, 4.0]


@pytest.mark.parametrize(
    ("host", "near"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("192.0.2.7", False),
        ("mail.example", False),
        ("localhost.example", False),
    ],
)
def test_without_tls_nothing_is_sent_but_to_this_very_machine(
    server: Server, host: str, *, near: bool
) -> None:
    server.offers_tls = False
    if near:
        assert deliver(lmtp(host)) is None
        assert "STARTTLS" not in {command for command, *_ in server.said}
        return
    with pytest.raises(Misconfigured, match="offers no TLS") as refused:
        deliver(lmtp(host))
    assert "certificate" in refused.value.remedy
    assert "MAIL" not in {command for command, *_ in server.said}
    assert server.clients[0].closed


@pytest.mark.parametrize("command", ["CONNECT", "LHLO", "STARTTLS"])
@pytest.mark.parametrize("error", [ConnectionResetError("x"), smtplib.SMTPServerDisconnected("x")])
def test_a_service_that_cannot_be_talked_to_is_down_and_nothing_was_sent(
    server: Server, command: str, error: Exception
) -> None:
    server.replies[command] = error
    with pytest.raises(TargetDown, match=type(error).__name__) as down:
        deliver()
    assert down.value.unknown is False
    assert all(client.closed for client in server.clients)


def test_a_certificate_that_does_not_verify_is_a_fault_of_the_settings(server: Server) -> None:
    server.replies["STARTTLS"] = ssl.SSLCertVerificationError("self-signed")
    with pytest.raises(Misconfigured, match="certificate does not verify") as refused:
        deliver()
    assert "mailbox.ca_file" in refused.value.remedy
    assert server.clients[0].closed


@pytest.mark.parametrize(
    ("code", "text", "outcome"),
    [
        (250, b"2.0.0 <zoe@x.fr> abc Saved", None),
        (299, b"OK", None),
        (552, b"5.2.2 <zoe@x.fr> Quota exceeded (mailbox for user is full)", FULL),
        (552, b"zoe's mailbox is full", FULL),
        (452, b"4.2.2 <zoe@x.fr> Quota exceeded", FULL),
        (550, b"5.1.1 <zoe@x.fr> User doesn't exist: zoe@x.fr", LOST),
        (550, b"5.1.0 <zoe@x.fr> Address rejected", LOST),
        (550, b"5.2.1 <zoe@x.fr> Mailbox disabled", LOST),
        (451, b"4.3.0 <zoe@x.fr> Temporary internal error", deferred("451 4.3.0")),
        (421, b"shutting down", deferred("421")),
        (499, b"zo\xc3\xa9", deferred("499")),
        (550, "5.1.\uff11".encode(), refused("550")),  # digits elsewhere, not in a reply
        (554, b"5.6.0 <zoe@x.fr> Conversion error", refused("554 5.6.0")),
        (501, b"", refused("501")),
        (300, b"", refused("300")),
    ],
)
def test_a_reply_means_one_thing_and_its_text_is_not_kept(code: int, text: bytes, outcome: Outcome) -> None:
    assert outcome_of(code, text) == outcome


@pytest.mark.parametrize("command", ["MAIL", "RCPT"])
def test_what_is_refused_before_the_message_ends_it(server: Server, command: str) -> None:
    for reply, verdict in (((451, b"4.3.0 later"), deferred("451 4.3.0")), ((550, b"5.1.1 who"), LOST)):
        server.replies[command] = reply
        assert deliver() == verdict
    assert "DATA" not in {said for said, *_ in server.said}


@pytest.mark.parametrize("text", [b"5.2.2 full", "5.2.2 full"])
def test_a_refused_data_command_is_known_to_have_sent_nothing(server: Server, text: bytes | str) -> None:
    server.replies["DATA"] = smtplib.SMTPDataError(452, text)
    assert deliver() == FULL


@pytest.mark.parametrize("command", ["MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize("error", [smtplib.SMTPServerDisconnected("x"), TimeoutError("x")])
def test_a_break_leaves_the_outcome_unknown_only_behind_the_message(
    server: Server, command: str, error: Exception
) -> None:
    server.replies[command] = error
    service = lmtp()
    unknown = command == "DATA"
    lost = f"the delivery's outcome is unknown ({type(error).__name__})"
    expected = Refused("delivery_unknown", lost, unknown=True) if unknown else deferred(type(error).__name__)
    assert deliver(service) == expected
    assert server.clients[0].closed
    server.replies.clear()
    assert deliver(service) is None
    reused = "RSET" in {said for said, *_ in server.said}
    assert reused is not unknown  # and a connection in doubt is not even asked


@pytest.mark.parametrize(("steps", "codes"), [(4, "OutOfTime"), (6, "out of time")])
def test_when_time_runs_out_before_the_message_nothing_was_sent(
    server: Server, steps: int, codes: str
) -> None:
    times = iter([0.0] * steps + [10.0] * 9)
    verdict = deliver(deadline=Deadline(at=10.0, monotonic=lambda: next(times)))
    assert verdict == deferred(codes)
    assert "DATA" not in {said for said, *_ in server.said}


def test_a_kept_connection_that_answers_no_reset_is_replaced(server: Server) -> None:
    service = lmtp()
    for number, reply in enumerate([None, (421, b"bye"), OSError("gone"), (250, b"OK")]):
        server.replies["RSET"] = reply
        assert deliver(service) is None
        assert [client.closed for client in server.clients[:-1]] == [True] * min(number, 2)
    assert len(server.clients) == 3


def test_eight_connections_are_kept_and_all_are_ended_at_the_close(server: Server) -> None:
    service, left = lmtp(), [9]

    def meanwhile() -> None:
        """Another delivery begins while this one's message is under way."""
        if left[0]:
            left[0] -= 1
            deliver(service)

    server.replies["DATA"] = meanwhile
    deliver(service)
    assert [client.closed for client in server.clients].count(False) == 8
    assert len(server.clients) == 10
    ends: list[Callable[[], Any]] = [lambda: OSError("x"), lambda: smtplib.SMTPServerDisconnected("x")]
    server.replies["QUIT"] = lambda: ends.pop()() if ends else None
    service.close()
    assert all(client.closed for client in server.clients)
    assert [said for said, *_ in server.said].count("QUIT") == 8
