"""The page of the reference that a campaign writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TEXT = """# Faults on real servers

<!-- written by `make faults DOCS=1` -->

Measured on {date}: {machine}.
Seed {seed}. `make faults KILLS={planned} STUDENTS={students} SEED={seed} DOCS=1` makes the same kills in the
same order again and writes this page; their moments, and so all else, are the machine's.

Apache Kafka (one broker, TLS and SCRAM) and PostgreSQL; {processes} `sesame consume` for each of registry,
propagation, directory, mailbox and moodle; slapd, Dovecot and the Moodle stand-in; all durable, all on one
machine. {students} students activate by lists while one process after the other is killed by SIGKILL at a
random moment, {every_s:g} s apart on average and up to three of them down at once, and started again on its
data.

| Killed | times |
|---|---:|
{killed}

- {kills_with_work_under_way} of the {kills} kills came while students were under way (median
  {under_way_median}), and {settled_at_last_kill} were settled when the last one came. {long_outages} times a
  server stayed away for 5 to 12 s, longer than the retries within a call. Of the commands that ask,
  {commands_killed} were killed and {commands_failed} failed, and were given again. {holds} times a student's
  access was shut and opened again in between, for more versions.
- What could not start since what it needs was down was started again later, as systemd does: {failed_starts}.
  Ended by themselves: {ended_unasked}.
- Activations and kills took {burst_s:g} s together.

| Counted afterwards | wanted | found |
|---|---:|---:|
| students lost (neither complete, nor waiting or dead-lettered with a reason) | 0 | {lost} |
| dead letters | 0 | {dead_letters} |
| outcomes of an older version after a newer one, of {outcomes} | 0 | {reordered} |
| entries of the directory seen to go back, in {looks_at_the_directory} looks | 0 | {went_back} |
| mailboxes without exactly one welcome message | 0 | {welcome} |
| student and version completed more than once, of {completions} | 0 | {twice} |
| complete, and no completion announced | 0 | {unsaid} |
| disagreements of the sweep by LDAP, IMAP and REST | 0 | {disagreements} |

{completed} students are complete, {waiting} wait for the registrar. A record that the outbox sent twice,
since it was killed before it noted the first time, has one event id and counts once.
"""


def page(report: Mapping[str, Any]) -> str:
    """The page, from what a campaign came to."""
    counted = ("reordered", "disagreements")
    return _TEXT.format(
        **{name: value for name, value in report.items() if name not in (*counted, *_WRITTEN)},
        **{name: report["asked"][name] for name in ("commands_killed", "commands_failed", "holds")},
        killed="\n".join(f"| {kind} | {count} |" for kind, count in sorted(report["killed"].items())),
        failed_starts=_counts(report["failed_starts"]),
        ended_unasked=_counts(report["ended_unasked"]),
        reordered=len(report["reordered"]),
        disagreements=len(report["disagreements"]),
        went_back=len(report["directory_went_back"]),
        welcome=len(report["welcome_not_once"]),
        twice=len(report["completed_twice"]),
        unsaid=len(report["completed_unsaid"]),
    )


_WRITTEN = ("killed", "failed_starts", "ended_unasked")


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"
