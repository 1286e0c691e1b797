"""Objects that existed and were adopted get the student number, and are left alone if they are others'."""

from __future__ import annotations

from consumers.kit.connector import AdoptedRef
from pipeline.target import Dead, Done, HandlerOutcome, Preview, Task, Waiting
from sandbox.moodle import MoodleStandIn
from sandbox.slapd import Slapd
from schemas.account import Account
from sesame.testing.servers import directory_kit, moodle_kit
from sesame.testing.servers.ldap_tools import as_provisioner, search
from sesame.testing.servers.moodle_kit import Operator, connector_on, settings_for

OLD_ENTRY = """dn: {dn}
objectClass: inetOrgPerson
{more}uid: {uid}
cn: Lefevre Zoe
sn: Lefevre
telephoneNumber: 0102030405
"""


def add(slapd: Slapd, dn: str, uid: str, more: str = "") -> None:
    as_provisioner(slapd, "ldapadd", stdin=OLD_ENTRY.format(dn=dn, uid=uid, more=more))


def bring(slapd: Slapd, wanted: Account, dn: str) -> tuple[Preview, HandlerOutcome]:
    """What a turn would do, and what it did, for a student for whom this entry was adopted."""
    number = wanted.student_number
    handler = directory_kit.directory_of(slapd, adopted={number: dn}).handler()
    preview = handler.preview([wanted])[number]
    outcome = handler.handle([Task(wanted)])[number]
    handler.close()
    return preview, outcome


def test_an_adopted_entry_gets_the_number_wherever_it_is_in_the_branch(own_slapd: Slapd) -> None:
    unit = f"ou=anciens,{own_slapd.people_dn}"
    as_provisioner(own_slapd, "ldapadd", stdin=f"dn: {unit}\nobjectClass: organizationalUnit\nou: anciens\n")
    wanted = directory_kit.account()
    dn = f"uid={wanted.login},{unit}"
    add(own_slapd, dn, wanted.login)
    preview, outcome = bring(own_slapd, wanted, dn)
    assert "supannEtuId" in preview.differs
    assert "object" not in preview.differs
    assert isinstance(outcome, Done)
    found = search(own_slapd, own_slapd.people_dn, f"(uid={wanted.login})", "supannEtuId", "telephoneNumber")
    assert found == {dn: {"supannEtuId": [wanted.student_number], "telephoneNumber": ["0102030405"]}}


def test_an_entry_that_is_somebody_elses_meanwhile_is_not_touched(own_slapd: Slapd) -> None:
    wanted = directory_kit.account()
    dn = f"uid={wanted.login},{own_slapd.people_dn}"
    add(own_slapd, dn, wanted.login, more="objectClass: supannPerson\nsupannEtuId: 99999999\n")
    before = search(own_slapd, own_slapd.people_dn, f"(uid={wanted.login})", "*", "+")
    _, outcome = bring(own_slapd, wanted, dn)
    assert isinstance(outcome, Dead)
    assert outcome.cause == "identity_collision"
    assert search(own_slapd, own_slapd.people_dn, f"(uid={wanted.login})", "*", "+") == before


def handle(moodle: MoodleStandIn, wanted: Account, user: AdoptedRef) -> tuple[Preview, HandlerOutcome]:
    adopted = {wanted.student_number: user}
    handler = connector_on(settings_for(moodle), adopted=lambda _numbers: adopted).handler()
    preview = handler.preview([wanted])[wanted.student_number]
    outcome = handler.handle([Task(wanted)])[wanted.student_number]
    handler.close()
    return preview, outcome


def test_an_adopted_user_gets_the_number_and_is_the_same_user(moodle: MoodleStandIn) -> None:
    operator, wanted = Operator(moodle), moodle_kit.account("22600001", moodle_kit.cohort("L1INFO"))
    userid = operator.create_user("ancien", idnumber="ANCIEN-4")
    preview, outcome = handle(moodle, wanted, AdoptedRef(str(userid), "ANCIEN-4"))
    assert {"idnumber", "username", "cohorts"} <= set(preview.differs)
    assert isinstance(outcome, Done)
    user = operator.user("22600001")
    assert (user["id"], user["username"], user["email"]) == (userid, wanted.login, wanted.mail)
    assert operator.cohorts_of("22600001") == ["L1INFO-2026"]


def test_a_user_with_another_idnumber_meanwhile_is_not_touched(moodle: MoodleStandIn) -> None:
    operator, wanted = Operator(moodle), moodle_kit.account("22600001")
    userid = operator.create_user(wanted.login, idnumber="22699999")
    before = operator.users("id", str(userid))
    _, outcome = handle(moodle, wanted, AdoptedRef(str(userid)))
    assert isinstance(outcome, Waiting)
    assert outcome.reason == "moodle_username_taken"
    assert operator.users("id", str(userid)) == before
