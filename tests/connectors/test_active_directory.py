"""Active Directory passes the connectors' suite, on a Samba domain controller."""

from __future__ import annotations

import pytest

from consumers.active_directory.connector import ActiveDirectoryConnector
from sandbox.samba import Samba
from schemas.account import Account
from sesame.testing.connector.bench import ConnectorBench
from sesame.testing.connector.suite import *
from tests.integration.active_directory.active_directory_kit import Domain


@pytest.fixture
def bench(samba: Samba) -> ConnectorBench:
    def settings(address: str) -> dict[str, object]:
        return {
            "uri": f"ldaps://{address}",
            "ca_file": samba.ca_file,
            "bind_dn": samba.provisioner_dn,
            "bind_password_file": samba.provisioner_password_file,
            "users_dn": samba.users_dn,
            "groups_dn": samba.groups_dn,
        }

    def stranger(account: Account) -> None:
        dn = f"CN=Etranger {account.login},{samba.users_dn}"
        Domain(samba).make(dn, sAMAccountName=account.login, mail=account.mail)

    return ConnectorBench(
        ActiveDirectoryConnector,
        settings,
        f"{samba.address}:636",
        protocol="tcp",
        stranger=stranger,
        refuse=lambda account: account.model_copy(
            update={"person": account.person.model_copy(update={"birth_name": "É" * 65})}
        ),
        product=samba.product,
    )
