"""The directory passes the connectors' suite, on OpenLDAP."""

from __future__ import annotations

import subprocess

import pytest

from consumers.directory.connector import DirectoryConnector
from consumers.kit.connector import SiteFacts
from sandbox.slapd import Slapd
from schemas.account import Account
from sesame.testing.connector.bench import ConnectorBench
from sesame.testing.connector.suite import *


def as_root(slapd: Slapd, ldif: str) -> None:
    """Add an entry as somebody else than Sésame."""
    tool = ["ldapadd", "-Q", "-Y", "EXTERNAL", "-H", slapd.ldapi_uri]
    subprocess.run(tool, input=ldif, text=True, check=True, capture_output=True)


@pytest.fixture
def bench(slapd: Slapd) -> ConnectorBench:
    def settings(address: str) -> dict[str, object]:
        return {
            "uri": f"ldaps://{address}",
            "ca_file": slapd.ca_file,
            "bind_dn": slapd.provisioner_dn,
            "bind_password_file": slapd.provisioner_password_file,
            "people_dn": slapd.people_dn,
            "groups_dn": slapd.groups_dn,
            "federation": {"esi": True, "home_organization": "univ-exemple.fr", "no_reassign": True},
            "timeout_s": 1,
        }

    def stranger(account: Account) -> None:
        lines = (
            f"dn: uid={account.login},{slapd.people_dn}",
            "objectClass: inetOrgPerson",
            f"mail: {account.mail}",
            "cn: Etranger",
            "sn: Etranger",
        )
        as_root(slapd, "\n".join(lines) + "\n")

    return ConnectorBench(
        DirectoryConnector,
        settings,
        f"127.0.0.1:{slapd.ldaps_port}",
        protocol="tcp",
        stranger=stranger,
        refuse=lambda account: account.model_copy(update={"mail": f"é{account.mail}"}),
        site=SiteFacts(
            principal_scope="univ-exemple.fr",
            esis=lambda numbers: {n: f"urn:schac:personalUniqueCode:int:esi:fr:000{n}" for n in numbers},
        ),
        product=slapd.product,
    )
