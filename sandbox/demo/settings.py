"""The settings of a world, from their template and its servers' addresses."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sandbox.demo.world import World
    from sandbox.kafka import Kafka
    from sandbox.postgres import Postgres

KAFKA_PASSWORD, STORE_URL = "kafka.password", "store.url"
"""Files next to the settings."""

_TEMPLATE = Path(__file__).with_name("settings.toml")
_TIMETABLE = """
[timetable]
calendar_url = "@timetable_url@/ical/{login}.ics"
probe_url = "@timetable_url@/ical/salle-a101.ics"
ca_file = "@timetable_ca_file@"
timeout_s = 5.0
"""
_SCIM = """
[scim]
title = "La bibliothèque"
title_en = "The library"
url = "@scim_url@"
ca_file = "@scim_ca_file@"
token_file = "@scim_token_file@"
groups = ["groups"]
"""
_PARTAGE = """
[partage]
url = "@partage_url@"
domain = "@partage_domain@"
key_file = "@partage_key_file@"
ca_file = "@partage_ca_file@"
timeout_s = 5.0
call_s_max = 20.0
execution_s_max = 10.0
"""
_ACTIVE_DIRECTORY = """
[active_directory]
uri = "@ad_uri@"
ca_file = "@ad_ca_file@"
bind_dn = "@ad_provisioner_dn@"
bind_password_file = "@ad_provisioner_password_file@"
users_dn = "@ad_users_dn@"
groups_dn = "@ad_groups_dn@"
"""
_PEGASE = """
[pegase]
url_file = "@pegase_url_file@"
periods = {ETAB00 = ["PER-2026"]}
[pegase_mail]
"""
_CANARY = """
[canary]
imap_url = "imaps://127.0.0.1:@imaps_port@"
"""


def write(world: World) -> None:
    """Write the settings file of a world whose targets run."""
    slapd, dovecot, moodle = world.slapd, world.dovecot, world.moodle
    values = {
        "data_dir": world.private / "data",
        "targets": json.dumps(list(world.servers)),
        "ldap_uri": slapd.ldap_uri,
        "ldap_ca_file": slapd.ca_file,
        "provisioner_dn": slapd.provisioner_dn,
        "provisioner_password_file": slapd.provisioner_password_file,
        "people_dn": slapd.people_dn,
        "groups_dn": slapd.groups_dn,
        "policy_dn": slapd.policy_dn,
        "organisation_dn": slapd.base_dn,
        "doveadm_url": dovecot.doveadm_url,
        "dovecot_ca_file": dovecot.ca_file,
        "doveadm_key_file": dovecot.api_key_file,
        "lmtp_port": dovecot.ports.lmtp,
        "probe_mail": slapd.probe_mail,
        "cas_url": world.cas.url,
        "cas_ca_file": world.cas.ca_file,
        "probe_login": slapd.probe_uid,
        "probe_password_file": slapd.probe_password_file,
        "moodle_url": moodle.url,
        "moodle_token_file": moodle.token_file,
        "portal_url": world.pages.url,
        "messages_url": world.pages.messages_url,
        "portal_port": world.pages.port,
        "console_url": world.console.url,
        "console_port": world.console.port,
        "smtp_port": world.pages.mail.port,
        "smtp_ca_file": world.pages.mail.ca_file,
        "http_port": world.http_port,
        "log": "" if world.kafka is None else _log(world, world.kafka),
        "store": "" if world.postgres is None else _store(world, world.postgres),
    }
    text = _TEMPLATE.read_text(encoding="utf-8")
    if world.timetable is not None:
        text += _TIMETABLE
        values |= {"timetable_url": world.timetable.url, "timetable_ca_file": world.timetable.ca_file}
    if world.scim is not None:
        text += _SCIM
        values |= {
            "scim_url": world.scim.url,
            "scim_ca_file": world.scim.ca_file,
            "scim_token_file": world.scim.token_file,
        }
    if world.partage is not None:
        text += _PARTAGE
        values |= {
            "partage_url": world.partage.url,
            "partage_domain": world.partage.domain,
            "partage_key_file": world.partage.key_file,
            "partage_ca_file": world.partage.ca_file,
        }
    if world.pegase is not None:
        text += _PEGASE
        values |= {"pegase_url_file": world.pegase.url_file}
    if world.canary:
        text += _CANARY
        values |= {"imaps_port": dovecot.ports.imaps}
    if world.samba is not None:
        text += _ACTIVE_DIRECTORY
        values |= {
            "ad_uri": world.samba.ldaps_uri,
            "ad_ca_file": world.samba.ca_file,
            "ad_provisioner_dn": world.samba.provisioner_dn,
            "ad_provisioner_password_file": world.samba.provisioner_password_file,
            "ad_users_dn": world.samba.users_dn,
            "ad_groups_dn": world.samba.groups_dn,
        }
    world.settings_file.write_text(
        re.sub(r"@([a-z_]+)@", lambda word: str(values.get(word[1], word[0])), text), encoding="utf-8"
    )


def _log(world: World, kafka: Kafka) -> str:
    brokers = len(kafka.servers)
    return (
        f'[log]\nkind = "kafka"\nservers = {json.dumps(kafka.servers)}\nca_file = "{kafka.ca_file}"\n'
        f'username = "sesame"\npassword_file = "{world.private / KAFKA_PASSWORD}"\n'
        f"replication = {brokers}\nsession_timeout_s = 6\n"
    )


def _store(world: World, postgres: Postgres) -> str:
    return f'[store]\nurl_file = "{world.private / STORE_URL}"\nca_file = "{postgres.ca_file}"\n'
