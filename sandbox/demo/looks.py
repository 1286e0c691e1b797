"""Commands to look at one student, as that student, and their present answers."""

from __future__ import annotations

import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

from sandbox.demo import sweep_directory, sweep_mail
from sandbox.demo.credentials import write_private
from sandbox.demo.finding import Announced
from sandbox.demo.machine import sesame_program
from sandbox.demo.world import World

_ATTRIBUTES = (
    "uid",
    "displayName",
    "mail",
    "supannEtuId",
    "supannEtuEtape",
    "supannRessourceEtat",
)

_READ_MAIL = """\
import imaplib, ssl
box = imaplib.IMAP4_SSL("127.0.0.1", {port}, ssl_context=ssl.create_default_context(cafile={ca!r}))
box.login({mail!r}, open({password!r}).read())
box.select("INBOX", readonly=True)
print(box.fetch("1", "(BODY.PEEK[])")[1][0][1].decode())
"""


@dataclass(frozen=True, slots=True)
class Looks:
    """One student, and the commands to look (`ldap`, `mail`, `status`)."""

    student: Announced
    dn: str
    password_file: Path
    ldap: str
    mail: str
    status: str

    def commands(self) -> str:
        """The commands, each with what it shows."""
        lines = [
            f"Look at one student ({self.student.number}), with the student's own password:",
            f"  # the entry, as its owner\n  {self.ldap}",
            f"  # the mailbox, as its owner\n  {self.mail}",
            f"  # each target's state, since when, the cause, what happens next\n  {self.status}",
        ]
        return "\n".join(lines)


def looks_at(world: World, student: Announced, password: str) -> Looks:
    """Prepare the commands for this student. The password goes into files that only we can read."""
    password_file = write_private(world.private / "one-student.password", password)
    world.shown = student.login, password
    netrc = f"machine 127.0.0.1 login {student.mail} password {password}\n"
    netrc_file = write_private(world.private / "one-student.netrc", netrc)
    dn = f"uid={student.login},{world.slapd.people_dn}"
    ca, port = str(world.dovecot.ca_file), world.dovecot.ports.imaps
    ldap = (
        f"LDAPTLS_CACERT={shlex.quote(str(world.slapd.ca_file))} "
        f"ldapsearch -x -ZZ -LLL -H {world.slapd.ldap_uri} "
        f"-D {shlex.quote(dn)} -y {password_file} -b {shlex.quote(dn)} -s base"
    )
    if shutil.which("curl"):
        address = shlex.quote(f"imaps://127.0.0.1:{port}/INBOX;MAILINDEX=1")
        mail = f"curl -s --cacert {ca} --netrc-file {netrc_file} {address}"
    else:
        program = _READ_MAIL.format(port=port, ca=ca, mail=student.mail, password=str(password_file))
        mail = f"python3 {write_private(world.private / 'read-mail.py', program)}"
    status = f"{shlex.quote(str(sesame_program()))} --config {world.settings_file} status {student.number}"
    return Looks(student, dn, password_file, ldap, mail, status)


def answers(world: World, looks: Looks, password: str) -> str:
    """The owner's present view of entry and mailbox, in short."""
    ldif = sweep_directory.search(
        world.slapd,
        looks.dn,
        "(objectClass=*)",
        *_ATTRIBUTES,
        who=looks.dn,
        password_file=looks.password_file,
    )
    entry = "\n".join(f"    {line}" for line in sweep_directory.readable(ldif).splitlines())
    with sweep_mail.session(world.dovecot, looks.student.mail, password) as box:
        subject = sweep_mail.subject(box, "1")
    return f"The entry shows its owner\n{entry}\nThe mailbox has one message\n    Subject: {subject}"
