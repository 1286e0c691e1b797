"""The settings of a target's section for a real server, and the TOML of a site with such sections."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sandbox.dovecot import Dovecot
    from sandbox.samba import Samba
    from sandbox.slapd import Slapd


def slapd_section(slapd: Slapd) -> dict[str, Any]:
    """`directory`, on this slapd."""
    return {
        "uri": slapd.ldap_uri,
        "ca_file": slapd.ca_file,
        "bind_dn": slapd.provisioner_dn,
        "bind_password_file": slapd.provisioner_password_file,
        "people_dn": slapd.people_dn,
        "groups_dn": slapd.groups_dn,
    }


def samba_section(samba: Samba) -> dict[str, Any]:
    """`active_directory`, on this domain."""
    return {
        "uri": samba.ldaps_uri,
        "ca_file": samba.ca_file,
        "bind_dn": samba.provisioner_dn,
        "bind_password_file": samba.provisioner_password_file,
        "users_dn": samba.users_dn,
        "groups_dn": samba.groups_dn,
    }


def dovecot_section(dovecot: Dovecot, slapd: Slapd) -> dict[str, Any]:
    """`mailbox`, on this Dovecot, whose users are in this slapd."""
    return {
        "doveadm_url": dovecot.doveadm_url,
        "ca_file": dovecot.ca_file,
        "api_key_file": dovecot.api_key_file,
        "lmtp_port": dovecot.ports.lmtp,
        "probe_user": slapd.probe_mail,
    }


def toml_of(**sections: Mapping[str, Any]) -> str:
    """These sections as TOML; paths and texts are quoted."""
    lines = []
    for name, section in sections.items():
        lines.append(f"[{name}]")
        for key, value in section.items():
            lines.append(f"{key} = {json.dumps(value if isinstance(value, int | float) else str(value))}")
    return "\n".join([*lines, ""])
