"""The sweep: check the announcements with each server, without Sésame.

Three things are compared: what the registrar's file implies (`roll`), what was announced, and what the
servers show to their users: ldapsearch over StartTLS, IMAP over TLS with each student's own password,
Moodle's web service, and the timetable, the SCIM service, Partage, Pégase and Active Directory where there
are such.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sandbox.demo import (
    sweep_active_directory,
    sweep_directory,
    sweep_mail,
    sweep_moodle,
    sweep_partage,
    sweep_pegase,
    sweep_scim,
    sweep_timetable,
)
from sandbox.demo.finding import COMPLETED, FAILED, WAITING, Announced, Disagreement
from sandbox.demo.roll import Student
from sandbox.demo.world import World

_ANNOUNCED = "announced"
_CANARY = "sesame-canary"
"""In no file: the targets have it, and nothing is announced of it."""


@dataclass(frozen=True, slots=True)
class Report:
    """The sweep's looks and disagreements, in order."""

    looked: Mapping[str, str] = field(default_factory=dict)
    disagreements: Sequence[Disagreement] = ()


def sweep(
    world: World,
    students: Mapping[str, Student],
    announced: Mapping[str, Announced],
    passwords: Mapping[str, str],
    progress: Callable[[str], None] = lambda _text: None,
) -> Report:
    """Query every server about every (activated) student.

    `progress`: called with what is being looked at.
    """
    found: list[Disagreement] = list(_announcement(students, announced))
    looked: dict[str, str] = {}
    progress("directory: ldapsearch over StartTLS")
    entries = sweep_directory.dump(world.slapd)
    found += sweep_directory.compare(entries, students, announced)
    looked["directory"] = f"{len(entries)} entries compared"
    progress("mailboxes: one IMAP login each")
    mail = sweep_mail.look(world.dovecot, students, announced, passwords, progress)
    found += mail.disagreements
    looked["mailbox"] = (
        f"{mail.opened} logins with the students' own passwords, {mail.refused} refused as due"
    )
    progress("Moodle: users, cohorts and members by REST")
    site = sweep_moodle.dump(world.moodle)
    found += sweep_moodle.compare(site, students, announced)
    looked["moodle"] = f"{len(site.users)} users and {site.memberships} memberships compared"
    if world.timetable is not None:
        progress("timetable: each calendar over HTTPS")
        found += sweep_timetable.compare(world.timetable.url, world.timetable.ca_file, announced)
        looked["timetable"] = "each announced calendar fetched"
    if world.scim is not None:
        progress("SCIM: users, groups and members over HTTPS")
        held = sweep_scim.dump(world.scim)
        found += sweep_scim.compare(held, students, announced)
        looked["scim"] = f"{len(held.users)} users and {held.memberships} memberships compared"
    if world.partage is not None:
        progress("Partage: accounts by BSS")
        accounts = sweep_partage.dump(world.partage)
        found += sweep_partage.compare(accounts, students, announced)
        looked["partage"] = f"{len(accounts)} accounts compared"
    if world.pegase is not None:
        progress("Pégase: addresses written back")
        mails = world.pegase.mails()
        found += sweep_pegase.compare(mails, entries, announced)
        looked["pegase_mail"] = f"{len(mails)} addresses compared"
    if world.samba is not None:
        progress("Active Directory: users and groups over LDAPS, and some logins")
        users = sweep_active_directory.dump(world.samba)
        found += sweep_active_directory.compare(world.samba, users, students, announced)
        opened, shut = sweep_active_directory.log_in(world.samba, students, announced, passwords)
        found += shut
        looked["active_directory"] = (
            f"{len(users)} users compared, {opened} logins with the students' own passwords"
        )
    return Report(looked, [one for one in found if one.number != _CANARY or one.where == _ANNOUNCED])


def _announcement(
    students: Mapping[str, Student], announced: Mapping[str, Announced]
) -> Sequence[Disagreement]:
    """Differences of the announcement from the registrar's file."""
    found = [
        Disagreement(number, _ANNOUNCED, "is not in the registrar's file")
        for number in sorted(announced.keys() - students.keys())
    ]
    for number, student in students.items():
        said = announced.get(number)
        if said is None:
            found.append(Disagreement(number, _ANNOUNCED, "asked for an account, and nothing is said of it"))
        elif said.state == FAILED:
            continue
        elif said.state != (COMPLETED if student.complete else WAITING):
            found.append(Disagreement(number, _ANNOUNCED, f"{said.state}, {_due(student)} is due"))
        elif said.state == WAITING and student.reason not in said.reasons:
            text = f"waits for {', '.join(said.reasons) or 'no stated reason'}, {student.reason} is due"
            found.append(Disagreement(number, _ANNOUNCED, text))
        elif said.state == WAITING and student.opened and said.pending != student.pending:
            found.append(
                Disagreement(number, _ANNOUNCED, f"pending {said.pending}, {student.pending} is due")
            )
    return found


def _due(student: Student) -> str:
    return COMPLETED if student.complete else f"{WAITING} ({student.reason})"
