"""A Samba domain controller, as those who connect to it see it, and what its provisioner may."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from ldap3 import MODIFY_ADD, MODIFY_REPLACE
from ldap3.core.exceptions import (
    LDAPInsufficientAccessRightsResult,
    LDAPInvalidCredentialsResult,
)

from sandbox.process import PATIENCE_S, StartFailed, stat_fields, wait_until
from sandbox.samba import NotRoot, Samba
from sesame.testing.servers import require_service

ROOT = Path(__file__).resolve().parents[3]
PASSWORD = "Un-Mot-de-Passe-2026!"
ENABLED, DISABLED = "512", "514"

STARTER = """
import sys
from pathlib import Path
from typing import Any
from sandbox.samba import Samba
print(Samba(Path(sys.argv[1])).start().pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def own_samba() -> Iterator[Samba]:
    """A domain that a test may kill and restart; it leaves it running."""
    with require_service(Samba) as server:
        yield server


@pytest.fixture
def provisioner(samba: Samba) -> Iterator[Any]:
    """The provisioner's connection."""
    with as_provisioner(samba) as connection:
        yield connection


def as_provisioner(samba: Samba) -> AbstractContextManager[Any]:
    return samba.connect(samba.provisioner_dn, samba.provisioner_password_file.read_text())


def quoted(password: str) -> bytes:
    """What `unicodePwd` wants."""
    return f'"{password}"'.encode("utf-16-le")


def enrol(samba: Samba, connection: Any, login: str) -> str:
    """Add a student who may log in, and return the DN."""
    dn = f"CN={login},{samba.users_dn}"
    account = {
        "sAMAccountName": login,
        "userPrincipalName": f"{login}@univ-exemple.fr",
        "userAccountControl": ENABLED,
        "unicodePwd": quoted(PASSWORD),
    }
    connection.add(dn, "user", account)
    return dn


def replace(connection: Any, dn: str, **values: str | bytes) -> None:
    connection.modify(dn, {name: [(MODIFY_REPLACE, [value])] for name, value in values.items()})


def can_log_in(samba: Samba, who: str, password: str) -> bool:
    try:
        with samba.connect(who, password):
            return True
    except LDAPInvalidCredentialsResult:
        return False


def ldapsearch(samba: Samba, *options: str) -> subprocess.CompletedProcess[str]:
    """OpenLDAP's client, as the provisioner: the domain's own entry. The exit code is LDAP's."""
    words = ("-x", "-LLL", "-D", samba.provisioner_dn, "-y", str(samba.provisioner_password_file))
    return subprocess.run(
        ["ldapsearch", *words, *options, "-b", samba.base_dn, "-s", "base", "(objectClass=*)", "1.1"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        env={"PATH": os.defpath, "LDAPTLS_CACERT": str(samba.ca_file)},
    )


def test_a_password_never_travels_in_clear(samba: Samba) -> None:
    in_clear = ldapsearch(samba, "-H", samba.ldap_uri)
    by_starttls = ldapsearch(samba, "-H", samba.ldap_uri, "-ZZ")
    from_the_start = ldapsearch(samba, "-H", samba.ldaps_uri)
    assert (in_clear.returncode, by_starttls.returncode, from_the_start.returncode) == (8, 0, 0)


def test_its_certificate_is_good_for_its_address_its_name_and_a_relay_on_loopback(samba: Samba) -> None:
    trust = ssl.create_default_context(cafile=str(samba.ca_file))
    for name in (samba.address, "dc1.ad.univ-exemple.fr", "127.0.0.1", "localhost"):
        with (
            socket.create_connection((samba.address, 636), timeout=PATIENCE_S) as connection,
            trust.wrap_socket(connection, server_hostname=name) as secured,
        ):
            assert secured.version() == "TLSv1.3"


def test_a_student_logs_in_with_the_password_of_today_while_enabled(samba: Samba, provisioner: Any) -> None:
    dn, principal = enrol(samba, provisioner, "ada.petit"), "ada.petit@univ-exemple.fr"
    assert can_log_in(samba, principal, PASSWORD)
    assert can_log_in(samba, "UNIV\\ada.petit", PASSWORD)
    replace(provisioner, dn, unicodePwd=quoted("Un-Autre-2026!"))
    assert (can_log_in(samba, principal, PASSWORD), can_log_in(samba, dn, "Un-Autre-2026!")) == (False, True)
    replace(provisioner, dn, userAccountControl=DISABLED)
    assert not can_log_in(samba, principal, "Un-Autre-2026!")
    replace(provisioner, dn, userAccountControl=ENABLED)
    assert can_log_in(samba, principal, "Un-Autre-2026!")


ELSEWHERE: dict[str, Callable[[Samba, Any], object]] = {
    "reset the administrator's password": lambda samba, connection: replace(
        connection, samba.administrator_dn, unicodePwd=quoted(PASSWORD)
    ),
    "describe the administrator": lambda samba, connection: replace(
        connection, samba.administrator_dn, description="x"
    ),
    "reset its own password": lambda samba, connection: replace(
        connection, samba.provisioner_dn, unicodePwd=quoted(PASSWORD)
    ),
    "add a user elsewhere": lambda samba, connection: connection.add(
        f"CN=ailleurs,CN=Users,{samba.base_dn}", "user", {"sAMAccountName": "ailleurs"}
    ),
    "add a user among the groups": lambda samba, connection: connection.add(
        f"CN=ailleurs,{samba.groups_dn}", "user", {"sAMAccountName": "ailleurs"}
    ),
    "add a computer": lambda samba, connection: connection.add(
        f"CN=poste,{samba.users_dn}", "computer", {"sAMAccountName": "poste$"}
    ),
    "add a unit": lambda samba, connection: connection.add(
        f"OU=ailleurs,{samba.users_dn}", "organizationalUnit"
    ),
    "make itself an administrator": lambda samba, connection: connection.modify(
        f"CN=Domain Admins,CN=Users,{samba.base_dn}", {"member": [(MODIFY_ADD, [samba.provisioner_dn])]}
    ),
    "weaken the policy": lambda samba, connection: replace(connection, samba.base_dn, minPwdLength="0"),
    "describe the unit": lambda samba, connection: replace(connection, samba.users_dn, description="x"),
}


@pytest.mark.parametrize("attempt", ELSEWHERE.values(), ids=ELSEWHERE)
def test_the_provisioner_may_nothing_elsewhere(
    samba: Samba, provisioner: Any, attempt: Callable[[Samba, Any], object]
) -> None:
    with pytest.raises(LDAPInsufficientAccessRightsResult):
        attempt(samba, provisioner)


def test_the_password_of_before_is_good_again_and_wrong_ones_lock_nobody_out(
    samba: Samba, provisioner: Any
) -> None:
    dn = enrol(samba, provisioner, "encore.lui")
    replace(provisioner, dn, unicodePwd=quoted("Un-Autre-2026!"))
    replace(provisioner, dn, unicodePwd=quoted(PASSWORD))
    assert not any(can_log_in(samba, dn, f"wrong-{n}") for n in range(12))
    assert can_log_in(samba, dn, PASSWORD)


def test_two_domains_stand_side_by_side(samba: Samba, own_samba: Samba) -> None:
    for each in (samba, own_samba):
        with as_provisioner(each) as connection:
            enrol(each, connection, f"voisin.{each.pid}")
    with as_provisioner(own_samba) as connection:
        assert connection.search(own_samba.users_dn, f"(cn=voisin.{own_samba.pid})")
        assert not connection.search(own_samba.users_dn, f"(cn=voisin.{samba.pid})")


def test_what_was_acknowledged_survives_a_crash(own_samba: Samba) -> None:
    with as_provisioner(own_samba) as connection:
        dn = enrol(own_samba, connection, "durable")
    own_samba.kill()
    assert not own_samba.running
    own_samba.start()
    assert can_log_in(own_samba, dn, PASSWORD)


def test_the_same_folder_is_the_same_domain(own_samba: Samba) -> None:
    with as_provisioner(own_samba) as connection:
        dn = enrol(own_samba, connection, "restee")
    own_samba.stop()
    with Samba(own_samba.folder) as again:
        assert again.ldaps_uri == own_samba.ldaps_uri
        assert can_log_in(again, dn, PASSWORD)
    own_samba.start()


def test_a_server_that_cannot_start_shows_the_end_of_its_log(own_samba: Samba) -> None:
    own_samba.stop()
    certificate = own_samba.folder / "tls" / "server.pem"
    good = certificate.read_bytes()
    certificate.write_text("not a certificate")
    with pytest.raises(StartFailed, match=r"samba ended with status 1"):
        own_samba.start()
    certificate.write_bytes(good)
    own_samba.start()


def test_it_ends_with_a_starter_that_is_killed(own_samba: Samba) -> None:
    own_samba.stop()
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, own_samba.folder],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    with starter:
        assert starter.stdout is not None
        stat = Path(f"/proc/{int(starter.stdout.readline())}/stat")
        assert stat_fields(stat)[0] not in "ZX"
        starter.kill()
    wait_until(lambda: not stat.exists() or stat_fields(stat)[0] in "ZX", "Samba to end")
    own_samba.start()
    assert own_samba.running


def test_secrets_are_readable_by_their_owner_only(samba: Samba) -> None:
    files = (
        samba.provisioner_password_file,
        samba.administrator_password_file,
        samba.folder / "tls" / "server.key",
    )
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert samba.folder.stat().st_mode & 0o777 == 0o700
    log = (samba.folder / "samba.log").read_text()
    assert not any(file.read_text() in log for file in files)


def test_without_root_it_says_so_before_anything_is_made(
    samba: Samba, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(NotRoot, match="as root only"):
        Samba(tmp_path / "domain")
    assert not (tmp_path / "domain").exists()
