"""The student's page of a site with connectors of other packages: Partage for the mail, a Windows domain."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from sesame.testing.servers.portal_kit import Portal, put, running
from tests.integration.portal.test_portal_states import read

TARGETS = ("directory", "partage", "active_directory")
DC = "DC=ad,DC=univ-exemple,DC=fr"


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """A portal of a site whose mail is Partage's, and that has no mail server of its own."""
    links = {"partage": "https://partage.renater.fr/"}
    more = {
        "targets": TARGETS,
        "partage": {"domain": "etu.univ-exemple.fr"},
        "active_directory": {"uri": "ldaps://dc1", "bind_dn": f"CN=s,{DC}", "users_dn": f"OU=Etudiants,{DC}"},
    }
    wish = {"address_burst": 10_000, "links": links}
    with Portal(tmp_path_factory.mktemp("portal"), wish=wish, more=more) as portal:
        running(portal, **dict.fromkeys((*TARGETS, "registry", "propagation"), "running"))
        yield portal


def test_partage_is_where_the_mail_is(portal: Portal) -> None:
    number = portal.active()
    for target in TARGETS:
        put(portal, number, target, "provisioned", None)
    shown = read(portal, number)
    assert shown.state["partage"] == "Prêt"
    assert "La messagerie Partage" in shown.words["partage"]
    assert "@" in shown.words["partage"], "the address stands there"
    assert "Lire mes messages" in shown.words["partage"]
    (icon,) = re.findall(r'data-service="partage".*?<svg.*?>\s*(<.*?)</svg>', shown.html, re.DOTALL)
    assert "M3 7l9 6 9-6" in icon, "an envelope"
    assert "@" not in shown.words["active_directory"]


def test_a_domain_that_lacks_the_password_asks_for_another_one(portal: Portal) -> None:
    number = portal.active()
    for target in ("directory", "partage"):
        put(portal, number, target, "provisioned", None)
    put(portal, number, "active_directory", "waiting", "credential_needed")
    words = read(portal, number).words["active_directory"]
    assert "Les salles informatiques (Windows)" in words
    assert "choisir un nouveau mot de passe" in words.lower()


def test_a_short_login_stands_where_it_is_used(portal: Portal) -> None:
    number = portal.active(given_name="Marie-Antoinette", birth_name="Delatour-Dauvergne")
    for target in TARGETS:
        put(portal, number, target, "provisioned", None)
    words = read(portal, number).words
    assert "Identifiant pour ce service : marie-antoinette.del" in words["active_directory"]
    assert "Identifiant pour ce service" not in words["partage"]
    other = portal.active()
    put(portal, other, "active_directory", "provisioned", None)
    assert "Identifiant pour ce service" not in read(portal, other).words["active_directory"]
