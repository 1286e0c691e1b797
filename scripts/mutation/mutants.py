"""Groups of files to mutate, with the tests that judge them; mutants of a file."""

from __future__ import annotations

import ast
import hashlib
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from mutmut.mutation.file_mutation import mutate_file_contents

_TABLE = """
identity | consumers/registry/{identity,recognition,doubts,holders,decisions}
  | unit/{consumers/registry/test_*,producers/registrar/test_*,sesame/cli/test_identities,pipeline/test_bad*}
import | producers/registrar/**/*
  | unit/{consumers/registry/test_*,producers/registrar/test_*,sesame/cli/test_identities,pipeline/test_bad*}
directory | consumers/directory/* | unit/consumers/{directory/test_*,test_unanswered_writes,test_previews}
moodle | consumers/moodle/* | unit/consumers/{moodle/test_*,test_unanswered_writes,test_previews}
  integration/moodle/test_moodle_{handler,cohorts,lost_answers,outages,refusals,rights}
mailbox | consumers/mailbox/* | unit/consumers/{mailbox/test_*,test_unanswered_writes,test_previews}
  unit/test_given_texts
propagation | consumers/propagation/* | unit/consumers/{propagation/test_*,test_observed_only}
letters | pipeline/{dead_letters/events,timers} | unit/{sesame/cli/test_dead_letters,producers/test_replay}
  unit/pipeline/{engine/test_*,runner/test_*,test_bad_input,test_quarantine,test_timers,test_outbox}
engine | pipeline/engine/* | unit/pipeline/engine/test_*
runner | pipeline/runner/* | unit/{sesame/app/test_running,producers/test_replay,pipeline/test_lost_records}
  unit/pipeline/{engine/test_*,runner/test_*,test_bad_input,test_quarantine,test_timers,test_outbox}
lifecycle | consumers/registry/{lifecycle,erasure}/*
  | unit/{consumers/registry/test_*,sesame/operations/test_lifecycle} integration/privacy/test_erased_again
eventlog | pipeline/eventlog/* | unit/pipeline/eventlog/test_* integration/privacy/test_erased_on_the_log
  conformance/test_{delivery,groups,order,records}
operations | sesame/operations/**/* | unit/{sesame/operations/test_*,sesame/app/test_*,producers/test_replay}
  integration/{api/test_api,api/test_scim_sends,privacy/test_erasure,keeping/test_backup}
  integration/api/test_api_{acts,enrolments,refusals}
web | sesame/{web/**,login}/* | unit/sesame/{web,login}/test_* integration/api/test_{api*,scim_in,scim_sends}
  integration/console/test_console_{acts,login,pages,rights}
  integration/portal/{test_cas,test_portal_forms,test_portal_messages,test_portal_states}
"""
GROUPS = {
    name.strip(): (files, tests)
    for name, files, tests in (row.split("|") for row in _TABLE.replace("\n  ", " ").strip().splitlines())
}
"""Patterns of the files to mutate, and of their tests that need no separate process."""


def matching(folder: Path, patterns: str) -> list[Path]:
    """The Python files that one of the patterns matches; of `{one,other}` either."""
    found: set[Path] = set()
    for pattern in patterns.split():
        head, _, rest = pattern.partition("{")
        choices, _, tail = rest.partition("}")
        found.update(*(folder.glob(f"{head}{choice}{tail}.py") for choice in choices.split(",")))
    return sorted(found)


def mutate(path: Path, name: str) -> list[dict[str, Any]]:
    """Put all mutants of a file into it: a copy of the function for each change.

    Each has its `name` for mutmut, the `digest` of both functions, the `change`, the lines in the new `file`
    of the `statement` and the original `function`, and its `places`, from narrow to wide.
    """
    made = mutate_file_contents(name, path.read_text(encoding="utf-8"))
    path.write_text(made.code, encoding="utf-8")
    lines, tree = made.code.splitlines(), ast.walk(ast.parse(made.code))
    functions = {node.name: node for node in tree if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    mutants = []
    for mutant in made.mutant_names:  # e.g. xǁLedgerǁmint__mutmut_3
        kept = functions[f"{mutant.rpartition('__mutmut_')[0]}__mutmut_orig"]
        before, after = (
            [line.replace(each.name, "") for line in lines[each.lineno - 1 : each.end_lineno]]
            for each in (kept, functions[mutant])
        )
        differ = [each for each in SequenceMatcher(None, before, after).get_opcodes() if each[0] != "equal"]
        (_, first, _, start, _), (_, _, end, _, stop) = differ[0], differ[-1]
        statement = _statement(kept, kept.lineno + first, kept.lineno + max(first, end - 1))
        mutants.append(
            {
                "name": f"{name.removesuffix('.py').replace('/', '.')}.{mutant}",
                "digest": hashlib.sha256("\n".join([*before, *after]).encode()).hexdigest()[:16],
                "change": " → ".join(
                    " ".join(map(str.strip, text)) for text in (before[first:end], after[start:stop])
                ),
                "file": str(path),
                "statement": statement,
                "function": [kept.lineno, kept.end_lineno],
                "places": [f"{name}:{statement}", f"{name}:{kept.name}", name],
            }
        )
    return mutants


def _statement(function: ast.stmt, first: int, last: int) -> list[int]:
    """The innermost statement around the lines; of a compound one its head alone."""
    around = [function.lineno, function.end_lineno or 0]
    for node in ast.walk(function):
        if isinstance(node, ast.stmt):
            body = getattr(node, "body", None)
            end = max(node.lineno, body[0].lineno - 1) if body else node.end_lineno or 0
            if node.lineno <= first and last <= end and end - node.lineno <= around[1] - around[0]:
                around = [node.lineno, end]
    return around
