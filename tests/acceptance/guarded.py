"""A site with every target, on a Kafka where nothing is allowed but what a file grants, user by user."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from sandbox.demo.pipeline import Pipeline, SesameProcess
from sandbox.demo.program import Sesame
from sandbox.dovecot import Dovecot
from sandbox.kafka import Kafka
from sandbox.slapd import Slapd
from sandbox.timetable import Timetable
from sesame.testing.servers.processes import ManySite

ADMIN, PASSWORD = "admin", "password"


class GuardedSite(ManySite):
    """See `ManySite`. `users`: those of Kafka who come here, each with the password `password`."""

    def __init__(
        self,
        folder: Path,
        store_url: str,
        kafka: Kafka,
        others: Mapping[str, tuple[str, ...]],
        users: list[str],
    ) -> None:
        log = (
            'kind = "kafka"',
            f"servers = {json.dumps(kafka.servers)}",
            f'ca_file = "{kafka.ca_file}"',
            f'username = "{ADMIN}"',
            f'password_file = "{folder / ADMIN}.password"',
            "partitions = 2",
            "replication = 1",
            "session_timeout_s = 6",
        )
        for user, password in {**dict.fromkeys(users, PASSWORD), ADMIN: kafka.admin_password}.items():
            secret = folder / f"{user}.password"
            secret.touch(mode=0o600)
            secret.write_text(password, encoding="utf-8")
        super().__init__(folder, store_url, log=log, others=others)
        self._text = self.settings_file.read_text(encoding="utf-8")

    def settings_of(self, user: str) -> Path:
        """The settings by which a process comes to Kafka as this user."""
        file = self.folder / f"{user}.toml"
        text = self._text.replace(f'username = "{ADMIN}"', f'username = "{user}"')
        file.write_text(text.replace(f"{ADMIN}.password", f"{user}.password"), encoding="utf-8")
        return file

    def become(self, user: str) -> GuardedSite:
        """Let the commands from now on come to Kafka as this user."""
        self.sesame = Sesame(self.settings_of(user), cwd=self.folder)
        return self

    def start_each(self, arguments: Mapping[str, tuple[str, ...]]) -> dict[str, SesameProcess]:
        """Start `sesame` with these arguments, each as the user that it is named after; return once all are
        ready."""
        parts = {name: SesameProcess(self.settings_of(f"sesame-{name}"), *a) for name, a in arguments.items()}
        self._started += parts.values()
        Pipeline(parts).start()
        return parts


def sections(slapd: Slapd, dovecot: Dovecot, timetable: Timetable) -> dict[str, tuple[str, ...]]:
    """The settings of the targets beside Moodle, with time-outs that make the leases short."""
    return {
        "directory": (
            f'uri = "{slapd.ldap_uri}"',
            f'ca_file = "{slapd.ca_file}"',
            f'bind_dn = "{slapd.provisioner_dn}"',
            f'bind_password_file = "{slapd.provisioner_password_file}"',
            f'people_dn = "{slapd.people_dn}"',
            f'groups_dn = "{slapd.groups_dn}"',
            f'policy_dn = "{slapd.policy_dn}"',
            f'organisation_dn = "{slapd.base_dn}"',
            "connect_timeout_s = 2",
            "timeout_s = 3",
            "call_s_max = 10",
            "execution_s_max = 2",
        ),
        "mailbox": (
            f'doveadm_url = "{dovecot.doveadm_url}"',
            f'ca_file = "{dovecot.ca_file}"',
            f'api_key_file = "{dovecot.api_key_file}"',
            'lmtp_host = "127.0.0.1"',
            f"lmtp_port = {dovecot.ports.lmtp}",
            f'probe_user = "{slapd.probe_mail}"',
            "timeout_s = 10",
            "execution_s_max = 2",
        ),
        "timetable": (
            f'calendar_url = "{timetable.url}/ical/{{login}}.ics"',
            "connect_timeout_s = 2",
            "timeout_s = 5",
            "call_s_max = 10",
        ),
    }
