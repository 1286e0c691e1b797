"""Activation and forgotten passwords by the students' pages, on HTTPS and SMTP, without a script."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from schemas.events import ActivationRequested, CredentialChanged
from tests.integration.portal_kit import GOOD, MAIL, Portal


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """One portal for this file: each test has students of its own."""
    with Portal(tmp_path_factory.mktemp("portal")) as portal:
        yield portal


def test_a_student_activates_by_the_code_and_sees_the_login_at_once(portal: Portal) -> None:
    number = portal.student()
    with portal.browser() as browser:
        assert "Consultez votre messagerie" in browser.ask(number).text
        letter = portal.message(number)
        assert "Choisissez votre mot de passe" in browser.send("/code", code=letter.code).text
        page = browser.choose()
    login = portal.desk.choices.situation(number)
    assert login is not None
    assert page.url.path == "/compte"
    assert login.login in page.text
    (event,) = portal.said(number)
    assert isinstance(event, ActivationRequested)
    assert event.language == "fr"
    assert portal.vault.open(event.credential_ref or "").startswith("{ARGON2}$argon2id$")  # type: ignore[union-attr]
