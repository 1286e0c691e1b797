"""What an operator can do, a program can: each act has a route, or a reason why not."""

from __future__ import annotations

from sesame.acts.acts import RIGHTS
from sesame.web.api.api_app import ROOMS
from sesame.web.api.routes import ROUTES

SCIM = "SCIM is its route"
MACHINE = "it makes or reads files of the machine, or its keys"
MIGRATION = "a step of a migration, which an operator watches at a terminal"
LISTS = "a program sends them one by one"
DESK = "the desk's own talk with a student"
LOOKS = "an operator looks at the machines, or reads much, before he says so"
TOKENS = "tokens are made and ended where commands are given: one that makes others would have no end"
WITHOUT_A_ROUTE = {
    "access": DESK,
    "activate.all": MIGRATION,
    "adopt": MIGRATION,
    "adopt.activate": MIGRATION,
    "adopt.link": MIGRATION,
    "audit.verify": LOOKS,
    "backup": MACHINE,
    "backup.verify": MACHINE,
    "canary.run": MACHINE,
    "connector.check": MACHINE,
    "connector.new": MACHINE,
    "dead_letters.list": "`dead_letters.page` is the same, a page at a time",
    "forecast.coming": MACHINE,
    "rehearsal.play": MACHINE,
    "group.change": SCIM,
    "group.end": SCIM,
    "group.look": SCIM,
    "group.make": SCIM,
    "hold.lift_all": LISTS,
    "import.mapping": "a person matches a sheet's columns; programs send named fields",
    "hold.list": "it reads everybody; `students.list` is a page at a time",
    "hold.place_all": LISTS,
    "identity.mint_again": LOOKS,
    "import.explain": MACHINE,
    "import.collect": MACHINE,
    "import.prove": MACHINE,
    "ledger.addresses": MACHINE,
    "import.poll": "`sesame run` does it every half minute",
    "incident.show": LOOKS,
    "ledger.refresh": "the site does it by itself, every hour",
    "letter.print": DESK,
    "letter.show": DESK,
    "lifecycle.preview": "it reads everybody; what the guard holds is `lifecycle.held`",
    "entitlements.preview": "it reads everybody; of one student: `entitlements.explain`",
    "lost_records.accept": LOOKS,
    "overview.people": "`students.list` is the same, a page at a time",
    "person.end": SCIM,
    "person.look": SCIM,
    "person.put": SCIM,
    "privacy.again": MACHINE,
    "privacy.export": MACHINE,
    "privacy.init": MACHINE,
    "privacy.key": MACHINE,
    "privacy.verify": MACHINE,
    "process.forget": LOOKS,
    "reconcile.watch": "the site does it by itself",
    "restore": MACHINE,
    "restored.check": LOOKS,
    "restored.rebuild": MACHINE,
    "support.look": DESK,
    "support.send": DESK,
    "target.holders": "`diagnose` shows them, of one student",
    "token.create": TOKENS,
    "token.list": TOKENS,
    "token.revoke": TOKENS,
    "unlock": DESK,
    "vault.init": MACHINE,
}


def test_each_act_has_a_route_or_a_reason_why_not() -> None:
    assert ROOMS, "which register them"
    routed = {route.act for route in ROUTES}
    assert routed | set(WITHOUT_A_ROUTE) == set(RIGHTS)
    assert routed & set(WITHOUT_A_ROUTE) == set()
