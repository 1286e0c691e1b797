"""The LDAP client: one connection per thread, bounded in time, and sure of what had an answer."""

from __future__ import annotations

import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from ldap3.core.exceptions import LDAPSocketOpenError, LDAPSocketReceiveError, LDAPStartTLSError

from consumers.directory import answers
from consumers.directory.settings import DirectorySettings
from consumers.directory.trial import PasswordPolicy, TrialVerdict
from consumers.kit import ldap
from consumers.kit.ldap import Endpoint, LdapClient
from consumers.kit.ldap_answers import Code, LdapAnswer, Lost, Modification
from pipeline.errors import CredentialsRefused, Misconfigured, TargetDown, WriteForbidden
from sesame.testing.servers.ldap_kit import (
    ENDPOINT,
    PEOPLE,
    PROVISIONER,
    Asked,
    Tree,
    directory_on,
    entries_on,
    student,
    tree_of,
)

DN = f"uid=hugo.roux,{PEOPLE}"
CHANGE: list[Modification] = [("replace", "sn", ("x",))]


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def tree(monkeypatch: pytest.MonkeyPatch) -> Tree:
    tree = tree_of(monkeypatch)
    tree.put(DN, uid="hugo.roux", objectClass="sesameAccount")
    return tree


def lose(tree: Tree, *verbs: str, error: type[Exception] = LDAPSocketReceiveError, times: int = 1) -> None:
    """So many of these operations break."""
    left = [times]

    def before(asked: Asked) -> None:
        if asked.verb in verbs and left[0]:
            left[0] -= 1
            raise error("broken")

    tree.before = before


def verbs(tree: Tree) -> list[str]:
    return [each.verb for each in tree.asked]


def test_a_connection_is_kept_and_each_thread_has_its_own(tree: Tree) -> None:
    client = LdapClient(ENDPOINT, answers)
    for _ in range(2):
        client.entry(DN, ["uid"])
    thread = threading.Thread(target=lambda: client.entry(DN, ["uid"]))
    thread.start()
    thread.join()
    assert len(tree.connections) == 2
    client.disconnect()
    assert verbs(tree).count("unbind") == 2
    client.entry(DN, ["uid"])
    assert len(tree.connections) == 3


@pytest.mark.parametrize("error", [LDAPSocketReceiveError, OSError])
def test_a_connection_that_broke_is_replaced_and_the_answer_is_lost(
    tree: Tree, error: type[Exception]
) -> None:
    client = LdapClient(ENDPOINT, answers)
    lose(tree, "search", error=error)
    with pytest.raises(Lost):
        client.entry(DN, ["uid"])
    assert client.entry(DN, ["uid"]) == {"uid": [b"hugo.roux"]}
    assert len(tree.connections) == 2
    assert tree.connections[0].closed


def test_a_server_on_its_way_down_is_asked_over_a_new_connection(tree: Tree) -> None:
    client = LdapClient(ENDPOINT, answers)
    tree.before = lambda asked: 52 if asked.verb == "search" and len(tree.connections) == 1 else None
    with pytest.raises(Exception, match="unavailable"):
        client.entry(DN, ["uid"])
    assert client.entry(DN, ["uid"]) is not None
    assert len(tree.connections) == 2


@pytest.mark.parametrize(("uri", "starts"), [("ldap://x.fr", True), ("ldaps://x.fr", False)])
def test_tls_comes_before_the_bind(tree: Tree, uri: str, *, starts: bool) -> None:
    LdapClient(Endpoint(uri, PROVISIONER, lambda: "x"), answers).entry(DN, ["uid"])
    assert verbs(tree)[:3] == (["open", "start_tls", "bind"] if starts else ["open", "bind", "search"])


@pytest.mark.parametrize("verb", ["open", "start_tls", "bind"])
def test_who_cannot_be_reached_is_down_and_one_without_trust_is_misconfigured(tree: Tree, verb: str) -> None:
    lose(tree, verb, error=LDAPSocketOpenError)
    with pytest.raises(TargetDown) as down:
        entries_on().of([student("1")], {})
    assert not down.value.unknown
    assert verbs(tree)[-1] == "unbind"

    def untrusted(asked: Asked) -> None:
        if asked.verb == verb:
            raise LDAPStartTLSError("certificate verify failed: self-signed (_ssl.c:1000)")

    tree.before = untrusted
    with pytest.raises(Misconfigured, match="TLS with"):
        entries_on().of([student("1")], {})


@pytest.mark.parametrize(
    ("code", "raised"),
    [
        (49, CredentialsRefused),
        (48, Misconfigured),
        (8, Misconfigured),
        (51, TargetDown),
        (53, Misconfigured),
    ],
)
def test_a_bind_that_is_refused_stops_the_consumer_or_waits(
    tree: Tree, code: int, raised: type[Exception]
) -> None:
    tree.before = lambda asked: code if asked.verb == "bind" else None
    with pytest.raises(raised) as refused:
        entries_on().of([student("1")], {})
    assert type(refused.value) is raised
    assert verbs(tree)[-1] == "unbind"


def test_a_password_is_asked_for_at_each_connection(tree: Tree) -> None:
    words = iter(["one", "two"])
    client = LdapClient(Endpoint("ldap://x.fr", PROVISIONER, lambda: next(words)), answers)
    lose(tree, "search")
    with pytest.raises(Lost):
        client.entry(DN, ["uid"])
    client.entry(DN, ["uid"])
    assert [each.what for each in tree.asked if each.verb == "bind"] == ["one", "two"]


def test_what_ldap3_leaves_open_is_decided(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    files: list[Path | None] = []
    monkeypatch.setattr(ldap, "verified", files.append)
    ca_file = Path("/etc/ssl/ours.pem")
    endpoint = Endpoint(
        "ldap://x.fr:3389",
        PROVISIONER,
        lambda: "x",
        ca_file=ca_file,
        connect_timeout_s=3,
        receive_timeout_s=7,
    )
    LdapClient(endpoint, answers).entry(DN, ["uid"])
    (connection,) = tree.connections
    assert connection.settings == {
        "user": PROVISIONER,
        "password": "x",
        "auto_bind": "NONE",
        "client_strategy": "SYNC",
        "receive_timeout": 7,
        "auto_referrals": False,
        "check_names": False,
        "raise_exceptions": False,
    }
    server = connection.server
    assert (server.host, server.port, server.connect_timeout) == ("x.fr", 3389, 3)
    assert (server.get_info, server.allowed_referral_hosts) == ("NO_INFO", [])
    assert server.tls.validate == ssl.CERT_REQUIRED
    assert files == [ca_file]


def test_an_authority_s_file_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(_ca_file: object) -> None:
        raise FileNotFoundError("no such file")

    monkeypatch.setattr(ldap, "verified", unreadable)
    client = LdapClient(Endpoint("ldap://x.fr", PROVISIONER, lambda: "x", ca_file=Path("/none.pem")), answers)
    with pytest.raises(Misconfigured, match=r"/none\.pem") as refused:
        client.entry(DN, ["uid"])
    assert "PEM" in refused.value.remedy


def test_the_socket_is_wrapped_for_the_server_s_own_name(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    class Context:
        def wrap_socket(self, socket: object, **how: object) -> object:
            return socket, how

    monkeypatch.setattr(ldap, "verified", lambda _ca_file: Context())
    LdapClient(Endpoint("ldaps://x.fr", PROVISIONER, lambda: "x"), answers).entry(DN, ["uid"])
    (connection,) = tree.connections
    connection.socket = "plain"
    connection.server.tls.wrap_socket(connection)
    assert connection.socket == ("plain", {"server_hostname": "x.fr", "do_handshake_on_connect": True})
    connection.socket = None


def test_a_connection_that_was_dropped_is_closed_once(tree: Tree) -> None:
    client = LdapClient(ENDPOINT, answers)
    lose(tree, "search")
    with pytest.raises(Lost):
        client.entry(DN, ["uid"])
    client.entry(DN, ["uid"])
    client.disconnect()
    client.disconnect()
    assert verbs(tree).count("unbind") == 2


# --- time -------------------------------------------------------------------------------------------------


def test_nothing_is_begun_after_the_nearest_end(tree: Tree) -> None:
    clock = Clock()
    client = LdapClient(ENDPOINT, answers, monotonic=clock)
    with client.within(10), client.within(50):
        clock.now += 9.9
        client.entry(DN, ["uid"])
        clock.now += 0.1
        before = len(tree.asked)
        with pytest.raises(TargetDown):
            client.entry(DN, ["uid"])
        assert len(tree.asked) == before
    with client.within(50):
        with client.within(10):
            pass
        clock.now += 20
        client.entry(DN, ["uid"])
    client.entry(DN, ["uid"])


def test_the_longest_operation_is_a_connection_tls_a_bind_and_the_answer() -> None:
    assert DirectorySettings(connect_timeout_s=2, timeout_s=7).verb_s_max == 2 + 3 * 7


@pytest.mark.parametrize(("verb", "unknown"), [("modify", True), ("search", False)])
def test_an_outage_is_unknown_only_after_a_write_without_an_answer(
    tree: Tree, verb: str, *, unknown: bool
) -> None:
    clock = Clock()
    client = LdapClient(ENDPOINT, answers, monotonic=clock)

    def attempt() -> None:
        lose(tree, verb)
        with pytest.raises(Lost), client.within(5):
            client.modify(DN, CHANGE, revision=None) if verb == "modify" else client.entry(DN, ["uid"])
        clock.now += 100
        client.entry(DN, ["uid"])

    with pytest.raises(TargetDown) as down, client.within(50):
        attempt()
    assert down.value.unknown is unknown
    with pytest.raises(TargetDown) as later, client.within(0):
        client.entry(DN, ["uid"])
    assert not later.value.unknown


def test_an_answer_that_was_had_later_does_not_settle_the_write_before_it(tree: Tree) -> None:
    clock = Clock()
    client = LdapClient(ENDPOINT, answers, monotonic=clock)

    def attempt() -> None:
        lose(tree, "modify")
        with pytest.raises(Lost):
            client.modify(DN, CHANGE, revision=None)
        lose(tree, "search")
        with pytest.raises(Lost):
            client.entry(DN, ["uid"])
        clock.now += 100
        client.entry(DN, ["uid"])

    with pytest.raises(TargetDown) as down, client.within(50):
        attempt()
    assert down.value.unknown


# --- reading and writing ----------------------------------------------------------------------------------


def test_no_entry_is_none_and_a_read_that_failed_is_not(tree: Tree) -> None:
    client = LdapClient(ENDPOINT, answers)
    assert client.entry(f"uid=none,{PEOPLE}", ["uid"]) is None
    tree.before = lambda asked: 50 if asked.verb == "search" else None
    with pytest.raises(Misconfigured):
        client.entry(DN, ["uid"])


def test_a_directory_that_is_only_observed_is_sent_no_write(tree: Tree) -> None:
    client = LdapClient(Endpoint("ldap://x.fr", PROVISIONER, lambda: "x", read_only=True), answers)
    with pytest.raises(WriteForbidden):
        client.modify(DN, CHANGE, revision=None)
    with pytest.raises(WriteForbidden):
        client.add(f"uid=new,{PEOPLE}", ["top"], {"uid": ("new",)})
    assert not tree.asked
    assert client.entry(DN, ["uid"]) is not None


def test_several_changes_of_one_attribute_are_sent_in_order(tree: Tree) -> None:
    client = LdapClient(ENDPOINT, answers)
    changes = [("delete", "uid", ("hugo.roux",)), ("add", "uid", ("h.roux",)), ("replace", "sn", ("Roux",))]
    assert client.modify(DN, changes, revision=None) == LdapAnswer(Code.SUCCESS)  # type: ignore[arg-type]
    assert tree.entries[DN]["uid"] == ["h.roux"]
    assert list(tree.asked[-1].what) == ["uid", "sn"]


def test_an_answer_keeps_its_code_and_its_remark(tree: Tree) -> None:
    client = LdapClient(ENDPOINT, answers)
    tree.before = lambda asked: (19, "sn: no") if asked.verb == "modify" else None
    assert client.modify(DN, CHANGE, revision=None) == LdapAnswer(19, "sn: no")
    assert client.add(DN, ["top"], {"uid": ("x",), "sn": ()}) == LdapAnswer(Code.ENTRY_EXISTS)


# --- letting somebody in ----------------------------------------------------------------------------------

POLICY = f"cn=policy,{PEOPLE}"


def trial(
    tree: Tree, *, code: int = 0, policy: str | None = None, **attributes: str
) -> tuple[TrialVerdict, str]:
    tree.put(DN, uid="hugo.roux", objectClass="sesameAccount", **attributes)
    tree.before = lambda asked: code if asked.verb == "bind" and asked.dn == DN else None
    found = directory_on(policy_dn=policy).trial("hugo.roux", "secret")
    return found.verdict, found.said


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y%m%d%H%M%SZ")


def test_the_directory_itself_lets_in_over_a_connection_of_its_own(tree: Tree) -> None:
    assert trial(tree) == (TrialVerdict.LETS_IN, "")
    assert [(each.dn, each.what) for each in tree.asked if each.verb == "bind"] == [
        (PROVISIONER, "mot de passe"),
        (DN, "secret"),
    ]
    assert tree.connections[1].closed
    assert not tree.connections[0].closed


@pytest.mark.parametrize(
    ("code", "attributes", "verdict", "said"),
    [
        (49, {}, TrialVerdict.WRONG_PASSWORD, "refuses the password"),
        (0, {"pwdReset": "TRUE"}, TrialVerdict.UNFIT_ENTRY, "pwdReset"),
        (0, {"pwdReset": "FALSE"}, TrialVerdict.LETS_IN, ""),
        (49, {"pwdAccountLockedTime": "000001010000Z"}, TrialVerdict.UNFIT_ENTRY, "locked"),
        (49, {"pwdAccountLockedTime": "20261125120000Z"}, TrialVerdict.UNFIT_ENTRY, "locked"),
    ],
)
def test_why_somebody_is_not_let_in(
    tree: Tree, code: int, attributes: dict[str, str], verdict: TrialVerdict, said: str
) -> None:
    found = trial(tree, code=code, **attributes)
    assert found[0] is verdict
    assert said in found[1]


@pytest.mark.parametrize(("age_s", "expired"), [(3600, True), (86_400, False), (0, False)])
def test_a_password_may_have_expired(tree: Tree, age_s: int, *, expired: bool) -> None:
    tree.put(POLICY, objectClass="pwdPolicy", pwdMaxAge=str(age_s))
    changed = stamp(datetime.now(UTC) - timedelta(hours=2))
    verdict, said = trial(tree, code=49, policy=POLICY, pwdChangedTime=changed)
    assert verdict is (TrialVerdict.UNFIT_ENTRY if expired else TrialVerdict.WRONG_PASSWORD)
    assert ("expired" in said) is expired


def test_the_policy_that_an_entry_names_goes_before_the_usual_one(tree: Tree) -> None:
    tree.put(POLICY, objectClass="pwdPolicy", pwdMaxAge="3600")
    changed = stamp(datetime.now(UTC) - timedelta(hours=2))
    usual = f"cn=none,{PEOPLE}"
    verdict, _ = trial(tree, code=49, policy=usual, pwdPolicySubentry=POLICY, pwdChangedTime=changed)
    assert verdict is TrialVerdict.UNFIT_ENTRY


def test_nobody_or_two_with_a_login_are_not_tried(tree: Tree) -> None:
    directory = directory_on()
    found = directory.trial("nobody", "secret")
    assert (found.verdict, found.said) == (
        TrialVerdict.UNFIT_ENTRY,
        "the directory has no entries with this login",
    )
    tree.put(f"uid=other,{PEOPLE}", uid=["other", "hugo.roux"])
    assert "2 entries" in directory.trial("hugo.roux", "secret").said
    assert [each.dn for each in tree.asked if each.verb == "bind"] == [PROVISIONER]


def test_what_the_server_keeps_of_a_password_is_read(tree: Tree) -> None:
    tree.put(
        DN,
        uid="hugo.roux",
        supannEtuId="1",
        pwdChangedTime="20260901080000Z",
        pwdAccountLockedTime="20260902080000.123456Z",
        pwdFailureTime=["20260903080000.2Z", "20260901090000.1Z", "nonsense"],
        pwdPolicySubentry=POLICY,
    )
    (entry,), policy = directory_on().look(student("1"))
    state = entry.password
    assert state.changed_at == datetime(2026, 9, 1, 8, tzinfo=UTC)
    assert state.locked_at == datetime(2026, 9, 2, 8, tzinfo=UTC)
    assert state.failures == (datetime(2026, 9, 1, 9, tzinfo=UTC), datetime(2026, 9, 3, 8, tzinfo=UTC))
    assert (state.must_change, state.policy_dn) == (False, POLICY)
    assert policy is None
    tree.put(POLICY, objectClass="pwdPolicy", pwdMaxAge="5")
    assert directory_on().look(student("1"))[1] == PasswordPolicy(5, 0)


def test_evidence_of_a_person_is_read_with_everybody_and_not_with_one(tree: Tree) -> None:
    tree.put(DN, uid="hugo.roux", supannEtuId="1", supannCodeINE="123456789AB")
    (entry,) = entries_on().of([student("1")], {})["1"]
    assert entry.evidence["ine"] == ""
    assert [each.evidence["ine"] for each in directory_on().objects()] == ["123456789AB"]
