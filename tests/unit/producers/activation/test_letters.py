"""Messages to personal addresses: both parts, both languages, and headers that nothing can be added to."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from email import message_from_bytes
from pathlib import Path

import pytest

from pipeline.letters import AddressUnusable
from producers.activation.letters import Letters
from producers.activation.sms import SmsGateway, SmsGatewayDown, SmsRefused, code_text
from producers.activation.smtp import AccentsRefused, MailRefused, MailServerDown, Smtp
from sandbox.ports import free_port
from sandbox.sms import SmsStandIn
from sandbox.smtp import MailSink
from sesame.testing.servers.mailbox_kit import LETTERHEAD
from sesame.testing.servers.narrowing import present

LETTERS = Letters(LETTERHEAD, 24.0, lambda: datetime(2026, 9, 1, 8, 30, tzinfo=UTC))
SAYS = {
    "to": "lea@perso.example",
    "number": "22001234",
    "link": "abc.def",
    "code": "012345",
    "activated": False,
}


@pytest.mark.parametrize(
    ("language", "activated", "subject"),
    [
        ("fr", False, "Activez votre compte universitaire"),
        ("en", False, "Activate your university account"),
        ("fr", True, "Votre mot de passe universitaire"),
        ("en", True, "Your university password"),
        ("de", False, "Activez votre compte universitaire"),
    ],
)
def test_the_message_says_what_it_is_for(language: str, activated: bool, subject: str) -> None:
    message = LETTERS.write("password", language, {**SAYS, "activated": activated})
    read = message_from_bytes(message.as_bytes())
    assert message["Subject"] == subject
    assert {part.get_content_type() for part in read.walk()} >= {"text/plain", "text/html"}
    for kind in ("plain", "html"):
        body = present(message.get_body((kind,)))
        text = body.get_content()
        assert "012 345" in text
        assert "https://compte.univ-exemple.fr/lien/abc.def" in text
        assert "24" in text
        assert "22001234" in text
    page = present(message.get_body(("html",))).get_content().partition("<body")[2].partition(">")[2]
    shown = " ".join(re.sub(r"<[^>]*>", "", page).split())
    assert re.match(r"(Votre|Your) code\s?: 012 345 ", html.unescape(shown)), (
        "a list of messages shows the code"
    )


@pytest.mark.parametrize(
    ("language", "subject"),
    [
        ("fr", "Le mot de passe de votre compte universitaire a changé"),
        ("en", "The password of your university account was changed"),
    ],
)
def test_the_notice_of_a_change_proves_nothing_and_says_where_to_turn(language: str, subject: str) -> None:
    message = LETTERS.write("changed", language, {**SAYS, "link": "", "code": "", "activated": True})
    assert message["Subject"] == subject
    for kind in ("plain", "html"):
        body = present(message.get_body((kind,)))
        text = body.get_content()
        assert "22001234" in text
        assert "assistance@univ-exemple.fr" in text
        assert "https://compte.univ-exemple.fr/" in text
        assert "/lien/" not in text


ENDING = {
    **SAYS,
    "link": "",
    "code": "",
    "last_day": "2027-12-01",
    "services": [["La messagerie", "2028-03-26"]],
    "account_erased": "2028-10-12",
}


@pytest.mark.parametrize(
    ("language", "subject", "said"),
    [
        (
            "fr",
            "Votre compte universitaire sera fermé après le 1er décembre 2027",
            [
                "reste ouvert jusqu’au 1er décembre 2027 inclus",
                "La messagerie\u00a0: vos données seront définitivement effacées le 26 mars 2028.",
                "Le compte lui-même sera supprimé le 12 octobre 2028.",
            ],
        ),
        (
            "en",
            "Your university account closes after 1 December 2027",
            [
                "stays open until 1 December 2027, that day included",
                "La messagerie: your data will be erased for good on 26 March 2028.",
                "The account itself will be deleted on 12 October 2028.",
            ],
        ),
    ],
)
def test_the_warning_says_what_is_lost_on_which_day(language: str, subject: str, said: list[str]) -> None:
    message = LETTERS.write("ending", language, ENDING)
    assert message["Subject"] == subject
    for kind in ("plain", "html"):
        body = present(message.get_body((kind,)))
        text = html.unescape(body.get_content())
        for each in (*said, "22001234", "assistance@univ-exemple.fr", "https://compte.univ-exemple.fr/"):
            assert each in text
        assert "/lien/" not in text


def test_the_warning_speaks_of_no_loss_where_nothing_is_erased() -> None:
    for language, word in (("fr", "effac"), ("en", "erase")):
        body = LETTERS.write(
            "ending", language, {**ENDING, "services": [], "account_erased": None}
        ).get_body()
        assert body is not None
        assert word not in body.get_content()
        assert "supprimé" not in body.get_content()


@pytest.mark.parametrize(
    "to",
    [
        "lea@perso.example\r\nBcc: x@y.example",
        "lea@perso.example\nBcc: x@y.example",
        "lea@perso.example, x@y.example",
        "Léa <lea@perso.example>",
        "lea",
        "",
        "@perso.example",
        "lea@perso.example\r\nBcc: x@université.example",
        "lea@université.example\r\nBcc: x",
        "léa@perso.example\r\nBcc: x@y.example",
        "léa@perso.example, x@y.example",
        "léa martin@perso.example",
        "léa.@perso.example",
        "“léa”@perso.example",
        "le\u200ba@perso.example",
        "léa@x@perso.example",
    ],
)
def test_an_address_that_is_more_than_one_address_is_refused(to: str) -> None:
    with pytest.raises(AddressUnusable) as refused:
        LETTERS.write("password", "fr", {**SAYS, "to": to})
    assert "Bcc" not in str(refused.value)


def test_an_accented_domain_is_written_as_every_mail_server_knows_it() -> None:
    message = LETTERS.write("password", "fr", {**SAYS, "to": "lea@université.example"})
    assert message["To"] == "lea@xn--universit-j4a.example"
    assert b"To: lea@xn--universit-j4a.example\r\n" in message.as_bytes()


@pytest.fixture(scope="module")
def sink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MailSink]:
    """A mail server that takes mail by STARTTLS only."""
    with MailSink(tmp_path_factory.mktemp("smtp")) as sink:
        yield sink


def smtp(sink: MailSink, **more: object) -> Smtp:
    given: dict[str, object] = {"security": "starttls", "ca_file": sink.ca_file, "timeout_s": 5.0, **more}
    return Smtp("localhost", sink.port, **given)  # type: ignore[arg-type]


def test_a_message_goes_out_under_verified_tls(sink: MailSink) -> None:
    smtp(sink).send(LETTERS.write("password", "fr", {**SAYS, "to": "tls@perso.example"}))
    (message,) = sink.messages("tls@perso.example")
    assert message["From"] == "Université d'exemple <ne-pas-repondre@univ-exemple.fr>"
    assert smtp(sink).probe()


def test_an_address_with_accents_is_written_to_where_the_mail_server_takes_it(
    sink: MailSink, tmp_path: Path
) -> None:
    message = LETTERS.write("password", "fr", {**SAYS, "to": "élodie.été@perso.example"})
    smtp(sink).send(message)
    (come,) = sink.messages("élodie.été@perso.example")
    assert come["To"] == "élodie.été@perso.example"
    assert come.get_body() is not None
    with MailSink(tmp_path, accents=False) as old:
        assert not smtp(old).probe()
        with pytest.raises(AccentsRefused):
            smtp(old).send(message)
        assert old.messages() == []


def test_a_server_whose_certificate_is_not_trusted_gets_nothing(sink: MailSink) -> None:
    with pytest.raises(MailServerDown, match="certificate"):
        smtp(sink, ca_file=None).send(LETTERS.write("password", "fr", {**SAYS, "to": "no-tls@perso.example"}))
    assert sink.messages("no-tls@perso.example") == []


def test_a_server_that_wants_tls_takes_nothing_in_the_clear(sink: MailSink) -> None:
    with pytest.raises((MailServerDown, MailRefused)):
        smtp(sink, security="none").send(
            LETTERS.write("password", "fr", {**SAYS, "to": "clear@perso.example"})
        )
    assert sink.messages("clear@perso.example") == []


def test_a_refusal_for_good_is_told_from_one_for_now(sink: MailSink) -> None:
    with pytest.raises(MailRefused):
        smtp(sink).send(LETTERS.write("password", "fr", {**SAYS, "to": "refuse@perso.example"}))
    with pytest.raises(MailServerDown):
        smtp(sink).send(LETTERS.write("password", "fr", {**SAYS, "to": "later@perso.example"}))


def test_no_server_is_told_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(MailServerDown, match="no answer from localhost"):
        Smtp("localhost", free_port(), security="starttls", timeout_s=2.0).probe()


GSM_7 = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
"""3GPP TS 23.038, table 6.2.1.1, in its order."""


@pytest.mark.parametrize("language", ["fr", "en"])
@pytest.mark.parametrize(
    ("institution", "shown"),
    [
        ("Université d'exemple", "Université d'exemple"),
        ("Université Côte d’Azur", "Université Cote d'Azur"),
        ("Sacré-Cœur", "Sacré-Coeur"),
        ("Universitatea din București 🎓", "Universitatea din Bucuresti"),
        ("École " + "très " * 18, "École très"),
    ],
)
def test_a_code_is_one_sms_of_160_characters(institution: str, shown: str, language: str) -> None:
    assert len(GSM_7) == len(set(GSM_7)) == 128
    text = code_text(institution, "012345", language, hours="24")
    assert len(text) <= 160
    assert not set(text) - set(GSM_7)
    assert text.startswith(shown)
    assert "012 345" in text
    assert ("personne" if language == "fr" else "anyone") in text
    assert "http" not in text  # a text message teaches nobody to follow links


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[SmsStandIn]:
    with SmsStandIn(tmp_path / "sms") as made:
        yield made


def texting(gateway: SmsStandIn, token: str | None = None) -> SmsGateway:
    held = gateway.token_file.read_text(encoding="utf-8") if token is None else token
    return SmsGateway(gateway.url, "UNIVERSITE", lambda: held, timeout_s=5.0)


@pytest.mark.parametrize(
    ("fault", "error", "sent", "says"),
    [
        ({}, None, 1, ""),
        ({"status": 500}, SmsGatewayDown, 0, "just now (500)"),
        ({"status": 404}, SmsGatewayDown, 0, "just now (404)"),
        ({"status": 302, "headers": {"Location": "http://127.0.0.1:9/"}}, SmsGatewayDown, 0, "(302)"),
        ({"status": 429, "headers": {"Retry-After": "90"}}, SmsGatewayDown, 0, "just now (429)"),
        ({"status": 422}, SmsRefused, 0, "for good (422)"),
        ({"hang_up": True}, SmsGatewayDown, 1, "may have sent the message, and charges it twice"),
    ],
)
def test_a_gateway_s_answer_says_whether_to_try_again_and_nothing_is_sent_twice(
    gateway: SmsStandIn, fault: dict[str, object], error: type[Exception] | None, sent: int, says: str
) -> None:
    gateway.meet(*([fault] if fault else []))
    send = texting(gateway).send
    if error is None:
        send("+33612345678", "code 1", key="k1")
    else:
        with pytest.raises(error, match=re.escape(says)) as raised:
            send("+33612345678", "code 1", key="k1")
        assert getattr(raised.value, "retry_after_s", 0.0) == (90.0 if fault.get("status") == 429 else 0.0)
    assert len(gateway.sent()) == sent
    send("+33612345678", "code 1", key="k1")
    send("+33612345678", "code 2", key="k2")
    assert [each["text"] for each in gateway.sent()] == ["code 1", "code 2"]
    assert gateway.sent()[0] == {"from": "UNIVERSITE", "to": "+33612345678", "text": "code 1"}
    assert [each["headers"]["Idempotency-Key"] for each in gateway.requests()] == ["k1", "k1", "k2"]


def test_a_gateway_is_probed_without_a_message(gateway: SmsStandIn) -> None:
    texting(gateway).probe()
    with pytest.raises(SmsGatewayDown, match="401"):
        texting(gateway, "another").probe()
    gateway.meet({"status": 503})
    with pytest.raises(SmsGatewayDown, match="503"):
        texting(gateway).probe()
    with pytest.raises(SmsGatewayDown, match="no answer"):
        SmsGateway(f"http://127.0.0.1:{free_port()}/", "U", None).probe()
    assert gateway.sent() == gateway.requests() == []
