"""Every command and where it is defined. To add one: write its file, then a line here.

The help of a command loads no library but click: what else its module needs is imported by its functions.
"""

from __future__ import annotations

from typing import Final

COMMANDS: Final[dict[str, str]] = {
    "access": "sesame.cli.access:access",
    "activate": "sesame.cli.activate:activate",
    "adopt": "sesame.cli.adopt:adopt",
    "audit": "sesame.cli.audit:audit",
    "consume": "sesame.cli.consume:consume",
    "dead-letters": "sesame.cli.dead_letters:dead_letters",
    "diagnose": "sesame.cli.diagnose:diagnose",
    "doctor": "sesame.cli.doctor:doctor",
    "hold": "sesame.cli.hold:hold",
    "identities": "sesame.cli.identities:identities",
    "import": "sesame.cli.imports:import_command",
    "ledger": "sesame.cli.ledger:ledger",
    "lost-records": "sesame.cli.lost_records:lost_records_group",
    "migrate": "sesame.cli.migrate:migrate",
    "overview": "sesame.cli.overview:overview",
    "processes": "sesame.cli.processes:processes",
    "provision": "sesame.cli.provision:provision",
    "quarantine": "sesame.cli.quarantine:quarantine",
    "replay": "sesame.cli.replay:replay",
    "replays": "sesame.cli.replay:replays",
    "restored": "sesame.cli.restored:restored",
    "rights": "sesame.cli.rights:rights",
    "run": "sesame.cli.run:run",
    "serve": "sesame.cli.serve:serve",
    "settings": "sesame.cli.settings:settings",
    "status": "sesame.cli.status:status",
    "students": "sesame.cli.students:students",
    "support": "sesame.cli.support:support",
    "topics": "sesame.cli.topics:topics",
    "vault": "sesame.cli.vault:vault",
    "version": "sesame.cli.version:version",
    "web": "sesame.cli.web:web",
}
"""Name to `module:attribute` of a click command. A module is imported only when its command is asked for."""
