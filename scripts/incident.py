"""An incident at the console, from alarm to report, in pictures: `make pictures`.

Real servers, a real login by CAS, a real Chromium: other entries of the directory have the logins of eight
students, whose accounts are given up; an administrator clears the directory; an operator previews, tries
five, and replays the rest. Each picture is as the operator sees it; the time taken is printed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from playwright.sync_api import Page

from sandbox.demo import play, progress
from sandbox.demo.world import OPERATOR, World
from sandbox.ldap import connected
from sesame.testing.servers.portal_browser import chromium

FOLDER: Final = Path(__file__).resolve().parent.parent / "docs" / "images"
VIEW: Final = {"width": 1180, "height": 800}
STUDENTS, IN_THE_WAY = 40, 8
CAUSE: Final = "identity_collision"
INCIDENT: Final = "Identifiants déjà pris dans l'annuaire"


def main() -> None:
    """Live through it, and take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--apereo", action="store_true", help="log in by an Apereo CAS")
    options = parser.parse_args()
    with (
        TemporaryDirectory() as records,
        World(Path(records), apereo=options.apereo) as world,
        chromium() as browser,
    ):
        play.prepare(world)
        world.start_console()
        cast = play.enrol(world, STUDENTS)
        others = in_the_way(world, list(cast.students)[:IN_THE_WAY])
        play.activate(world, cast)
        settled = play.follow(world, len(cast.students), view=progress.view_for(STUDENTS))
        print(f"{settled['failed']} failed", file=sys.stderr)
        with closing(browser.new_context(locale="fr-FR", viewport=VIEW, ignore_https_errors=True)) as context:  # type: ignore[arg-type]
            page = context.new_page()
            enter(world, page)
            begun = time.monotonic()
            lived(world, page, others)
            print(f"from the alarm to the report: {time.monotonic() - begun:.0f} s", file=sys.stderr)


def in_the_way(world: World, numbers: Sequence[str]) -> list[str]:
    """Give some students' logins to other directory entries; return their names."""
    logins = [str(world.sesame.run("status", number, "--json").json()["login"]) for number in numbers]
    names = [f"uid={login},{world.slapd.people_dn}" for login in logins]
    with provisioning(world) as directory:
        for name, login in zip(names, logins, strict=True):
            directory.add(name, ["inetOrgPerson"], {"uid": login, "cn": login, "sn": login})
    return names


def clear(world: World, others: Sequence[str]) -> None:
    """Clear the directory, as its administrator does."""
    with provisioning(world) as directory:
        for name in others:
            directory.delete(name)


def provisioning(world: World) -> AbstractContextManager[Any]:
    """A connection to the directory, as Sésame's."""
    slapd = world.slapd
    password = slapd.provisioner_password_file.read_text("utf-8")
    return connected(slapd.ldaps_uri, slapd.ca_file, slapd.provisioner_dn, password)


def enter(world: World, page: Page) -> None:
    """Log in by CAS."""
    page.goto(f"{world.console.url}/console/")
    page.fill("input[name=username]", OPERATOR)
    page.fill("input[name=password]", world.operator_password_file.read_text("ascii"))
    page.locator("button[type=submit], input[type=submit]").first.click()
    page.wait_for_url("**/console/**")


def lived(world: World, page: Page, others: Sequence[str]) -> None:
    """The incident."""
    page.locator("#pire").wait_for()
    take(page, "1-alarm")
    page.locator("#pire a").first.click()
    page.get_by_role("heading", name="Obstacles").wait_for()
    take(page, "2-cause")
    page.locator("#apercu").scroll_into_view_if_needed()
    take(page, "3-preview-before")
    clear(world, others)
    page.get_by_role("link", name="Comparer de nouveau").click()
    page.get_by_role("heading", name="Ce qui serait écrit").wait_for()
    take(page, "4-preview-after")
    page.get_by_label("Motif").fill("Les entrées de test ont été supprimées de l'annuaire")
    page.get_by_label("Nom de l’incident").fill(INCIDENT)
    page.get_by_role("button", name="Essayer sur").click()
    report(page, "5 réussis")
    take(page, "5-canary")
    page.get_by_role("button", name="Relancer les autres").click()
    report(page, "Terminé")
    take(page, "6-report")
    page.goto(f"{world.console.url}/console/")
    take(page, "7-calm")


def report(page: Page, wanted: str) -> None:
    """Reload the page until it has this text."""
    deadline = time.monotonic() + 60.0
    while wanted not in page.inner_text("main").replace("\n", " "):
        if time.monotonic() > deadline:
            raise TimeoutError(page.inner_text("main"))
        page.wait_for_timeout(500)
        page.reload()


def take(page: Page, name: str) -> None:
    """Take one picture, of what is in view."""
    file = f"incident-{name}.png"
    page.screenshot(path=FOLDER / file, animations="disabled", caret="hide")
    print(file, file=sys.stderr)


if __name__ == "__main__":
    main()
