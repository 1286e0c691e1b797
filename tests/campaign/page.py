"""What a campaign came to, for the page of evidence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TEXT = """\
Measured on {date}: {machine}. {students} students, {processes} `sesame consume` for each consumer,
kills {every_s:g} s apart on average. The same kills in the same order, at the machine's own moments:
`make faults KILLS={planned} STUDENTS={students} SEED={seed} DOCS=1`.

{kills} kills in {burst_s:g} s: {killed}. {kills_with_work_under_way} came while students were under way
(median {under_way_median}); {settled_at_last_kill} were settled at the last one. {long_outages} times a
server stayed away for 5 to 12 s, longer than the retries within a call. Of the commands that ask,
{commands_killed} were killed and {commands_failed} failed, and were given again. {holds} times access
was shut and opened again, for more versions. Started again later, since what they need was down:
{failed_starts}. Ended without a kill: {ended_unasked}.

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

{completed} students are complete, {waiting} wait for the registrar.
"""


def section(report: Mapping[str, Any]) -> str:
    """The figures, in Markdown."""
    counted = ("reordered", "disagreements")
    return _TEXT.format(
        **{name: value for name, value in report.items() if name not in (*counted, *_WRITTEN)},
        **{name: report["asked"][name] for name in ("commands_killed", "commands_failed", "holds")},
        killed=_counts(report["killed"]),
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
