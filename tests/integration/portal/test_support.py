"""Support: codes, cases, desks, and the message to a desk, over a real mail server and a real store."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select

from pipeline import audit, target_states
from pipeline.audit.trail import audit as audit_table
from pipeline.dead_letters import events as dead_letters
from pipeline.dead_letters.rows import DeadLetter
from producers.activation.smtp import MailServerDown
from sandbox.smtp import MailSink
from schemas.codes import ALPHABET, LENGTH, new_code, read_code, shown_code
from sesame.app.wiring import Application, build
from sesame.operations.people.support import Support, UnknownCode
from sesame.settings import Settings
from sesame.testing.servers import stores
from sesame.testing.servers.directory_kit import account
from sesame.web.students.portal_context import smtp_of

NUMBER = "22600001"
DESKS = [
    {"name": "DSI", "mail": "dsi@desk.example", "hours": "8 h à 18 h", "hours_en": "8 am to 6 pm"},
    {"name": "Scolarité", "mail": "scol@desk.example", "causes": ["registrar"]},
    {"name": "Scolarité Droit", "mail": "droit@desk.example", "causes": ["registrar"], "components": ["DRO"]},
    {"name": "Moodle", "mail": "moodle@desk.example", "causes": ["moodle"]},
]


@pytest.fixture(scope="module")
def sink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MailSink]:
    with MailSink(tmp_path_factory.mktemp("smtp")) as server:
        yield server


@pytest.fixture
def app(tmp_path: Path, store_url: str, sink: MailSink) -> Iterator[Application]:
    """An application whose targets are away: what is found is what its store knows."""
    settings = Settings(
        data_dir=tmp_path,
        store={"url": store_url},
        smtp={"host": "localhost", "port": sink.port, "ca_file": sink.ca_file},
        support={"desks": DESKS},
    )
    app = build(settings)
    yield app
    app.close()


def known(app: Application, number: str = NUMBER, **fields: object) -> None:
    """Somebody with an account."""
    active = {"login": f"zoe{number}", "activated_at": datetime(2026, 9, 1, tzinfo=UTC)}
    stores.keep(app.database, account(number, **{**active, **fields}))


def given_up(app: Application, consumer: str, *, number: str = NUMBER) -> None:
    letter = DeadLetter(
        id=f"letter-{consumer}-{number}",
        consumer=consumer,
        student_number=number,
        version=1,
        cause="identity_collision",
        message="the login is held by an entry that does not carry this student number",
        attempts=1,
        recorded_at=1_790_000_000.0,
        event_id="event-7",
    )
    with app.database.write() as connection:
        dead_letters.record(connection, app.database, letter)
        if consumer in app.settings.targets:
            target_states.fail(
                connection, app.database, consumer, number, version=1, reason=letter.cause, now=0.0
            )


def test_a_code_is_unguessable_readable_and_says_nothing_of_whom() -> None:
    made = {new_code() for _ in range(200)}
    assert len(made) == 200
    assert all(len(code) == LENGTH and set(code) <= set(ALPHABET) for code in made)
    assert len(ALPHABET) ** LENGTH >= 2**50
    for code in made:
        assert read_code(shown_code(code).lower().replace("-", " ")) == code
    assert read_code("oil0-u") == "0110V"


def test_a_code_leads_to_what_was_found_then_and_now_and_looking_is_audited(app: Application) -> None:
    known(app)
    given_up(app, "registry")
    support = Support(app)
    case = support.open(NUMBER, "fr", said="Message : « accès refusé », à 9 h 12")
    assert NUMBER not in case.code
    assert "zoe" not in case.code.lower()
    found, now = support.look(case.code.lower(), "fr", actor="desk")
    assert found.bundle == case.bundle
    assert "given_up" in [cause.rule for cause in found.bundle.causes]
    assert now.situation.number == NUMBER
    with app.database.read() as connection:
        (entry,) = audit.entries(connection, limit=9)
    assert (entry.actor, entry.action) == ("desk", "support.look")
    assert entry.detail == {"code": read_code(case.code), "student_number": NUMBER}


def test_the_bundle_has_what_support_asks_for_and_nothing_of_the_person(app: Application) -> None:
    known(app)
    given_up(app, "registry")
    text = Support(app).open(NUMBER, "fr", said="Erreur 403 sur Moodle").text
    for wanted in (NUMBER, "Erreur 403 sur Moodle", "compte activé", "identity_collision", "event-7"):
        assert wanted in text
    assert "is held by an entry that does not carry" in text  # the exact error
    assert "L’annuaire\u00a0: indisponible" in text  # the states
    for personal in ("Lefèvre", "Zoé"):
        assert personal not in text


def test_the_same_code_is_given_again_unless_there_is_something_new_to_say(app: Application) -> None:
    known(app)
    support = Support(app)
    first = support.open(NUMBER, "fr")
    assert support.open(NUMBER, "en").code == first.code
    assert support.open(NUMBER, "fr", said="autre chose").code != first.code


def test_a_code_expires_and_a_mistyped_one_leads_nowhere(app: Application) -> None:
    known(app)
    support = Support(app)
    code = support.open(NUMBER, "fr").code
    for wrong in ("", "AAAAA-AAAAA", code[:-1], "' or 1=1 --"):
        with pytest.raises(UnknownCode):
            support.look(wrong, "fr", actor="desk")
    with pytest.raises(UnknownCode):
        support.mine(code, "22600002", "fr")
    later = Application(app.settings.model_copy(update={"support": app.settings.support}))
    later.database._clock = lambda: 4_000_000_000.0  # noqa: SLF001 (the store's clock, years from now)
    with pytest.raises(UnknownCode):
        Support(later).look(code, "fr", actor="desk")
    later.close()


@pytest.mark.parametrize(
    ("number", "component", "consumer", "desk"),
    [
        ("22600011", "SCI", "moodle", "Moodle"),
        ("22600012", "SCI", "directory", "DSI"),
        ("99999999", None, None, "Scolarité"),
    ],
)
def test_a_case_goes_to_the_desk_of_its_cause(
    app: Application, number: str, component: str | None, consumer: str | None, desk: str
) -> None:
    if consumer is not None:
        known(app, number)
        given_up(app, consumer, number=number)
    case = Support(app).open(number, "en")
    assert case.desk.name == desk
    assert case.bundle.components == ((component,) if component else ())
    if desk == "DSI":
        assert case.desk.hours == "8 am to 6 pm"


def test_a_case_is_sent_once_word_for_word_as_it_was_shown(app: Application, sink: MailSink) -> None:
    known(app, "22600021")
    given_up(app, "moodle", number="22600021")
    support, post = Support(app), smtp_of(app.settings)
    case = support.open("22600021", "fr", said="Ligne 1\r\nBcc: all@example.org")
    shown = case.text
    assert not case.sent
    earlier = len(sink.messages("moodle@desk.example"))  # from the other database
    assert support.send(case.code, "fr", post).sent
    assert support.send(case.code, "fr", post).sent
    (message,) = sink.messages("moodle@desk.example")[earlier:]
    assert message.get_content().replace("\r\n", "\n").strip() == shown.replace("\r\n", "\n").strip()
    assert case.code in message["Subject"]
    assert "22600021" not in message["Subject"]
    assert sink.messages("all@example.org") == []


def test_a_mail_server_that_is_away_leaves_the_case_unsent(app: Application) -> None:
    known(app)
    away = app.settings.model_copy(update={"smtp": app.settings.smtp.model_copy(update={"port": 9})})
    support = Support(app)
    case = support.open(NUMBER, "fr")
    with pytest.raises(MailServerDown):
        support.send(case.code, "fr", smtp_of(away))
    assert not support.mine(case.code, NUMBER, "fr").sent


def test_the_audit_of_looking_stays(app: Application) -> None:
    with app.database.write() as connection:
        audit.note(connection, app.database, actor="a", action="support.look", detail={})
    known(app)
    with pytest.raises(UnknownCode):
        Support(app).look("00000-00000", "fr", actor="desk")
    with app.database.read() as connection:
        assert len(connection.execute(select(audit_table)).all()) == 1
