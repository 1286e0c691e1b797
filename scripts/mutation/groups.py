"""Files to mutate, each group with the unit tests that judge it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_REGISTRAR_TESTS = (
    "consumers/registry/test_*",
    "producers/registrar/test_*",
    "sesame/cli/test_identities",
    "pipeline/test_bad_input",
)
_PIPELINE_TESTS = (
    "pipeline/engine/test_*",
    "pipeline/runner/test_*",
    "pipeline/test_bad_input",
    "pipeline/test_quarantine",
    "pipeline/test_timers",
)
_OTHER_FOLDERS = ("integration/", "conformance/")
_CONSUMERS_TESTS = ("consumers/test_unanswered_writes", "consumers/test_previews")


@dataclass(frozen=True)
class Group:
    """A subject.

    Attributes:
        name: as `make mutation MUTANTS=name` takes it.
        files: patterns, from the checkout's root.
        tests: patterns of unit tests, or of other folders those that need no separate process.
    """

    name: str
    files: tuple[str, ...]
    tests: tuple[str, ...]

    def paths(self, tree: Path) -> list[str]:
        """The files to mutate, by pattern and then by name."""
        return [name for pattern in self.files for name in _found(tree, pattern)]

    def judges(self, tree: Path) -> list[str]:
        """The files of tests."""
        found = (
            _found(tree, f"tests/{'' if pattern.startswith(_OTHER_FOLDERS) else 'unit/'}{pattern}.py")
            for pattern in self.tests
        )
        return sorted({name for names in found for name in names})


def _found(tree: Path, pattern: str) -> list[str]:
    return sorted(str(file.relative_to(tree)) for file in tree.glob(pattern))


def _registry(*names: str) -> tuple[str, ...]:
    return tuple(f"consumers/registry/{name}.py" for name in names)


GROUPS = (
    Group(
        "identity",
        _registry("identity", "recognition", "doubts", "holders", "decisions"),
        _REGISTRAR_TESTS,
    ),
    Group("import", ("producers/registrar/**/*.py",), _REGISTRAR_TESTS),
    Group(
        "directory",
        ("consumers/directory/*.py",),
        ("consumers/directory/test_*", *_CONSUMERS_TESTS),
    ),
    Group(
        "moodle",
        ("consumers/moodle/*.py",),
        (
            *("consumers/moodle/test_*", *_CONSUMERS_TESTS),
            *(f"integration/moodle/test_moodle_{name}" for name in ("handler", "cohorts", "lost_answers")),
            *(f"integration/moodle/test_moodle_{name}" for name in ("outages", "refusals", "rights")),
        ),
    ),
    Group(
        "mailbox",
        ("consumers/mailbox/*.py",),
        ("consumers/mailbox/test_*", "test_given_texts", *_CONSUMERS_TESTS),
    ),
    Group(
        "propagation",
        ("consumers/propagation/*.py",),
        ("consumers/propagation/test_*", "consumers/test_observed_only"),
    ),
    Group(
        "letters",
        ("pipeline/dead_letters/events.py", "pipeline/timers.py"),
        (*_PIPELINE_TESTS, "sesame/cli/test_dead_letters", "producers/test_replay", "pipeline/test_outbox"),
    ),
    Group("engine", ("pipeline/engine/*.py",), ("pipeline/engine/test_*",)),
    Group(
        "runner",
        ("pipeline/runner/*.py",),
        (
            *_PIPELINE_TESTS,
            *("pipeline/test_lost_records", "pipeline/test_outbox"),
            *("producers/test_replay", "sesame/app/test_running"),
        ),
    ),
    Group(
        "lifecycle",
        ("consumers/registry/lifecycle/*.py", "consumers/registry/erasure/*.py"),
        (
            "consumers/registry/test_*",
            "sesame/operations/test_lifecycle",
            "integration/privacy/test_erased_again",
        ),
    ),
    Group(
        "eventlog",
        ("pipeline/eventlog/*.py",),
        (
            *("pipeline/eventlog/test_*", "integration/privacy/test_erased_on_the_log"),
            *(f"conformance/test_{name}" for name in ("delivery", "groups", "order", "records")),
        ),
    ),
    Group(
        "operations",
        ("sesame/operations/**/*.py",),
        (
            *("sesame/operations/test_*", "sesame/app/test_*", "producers/test_replay"),
            *(f"integration/api/test_api_{name}" for name in ("acts", "enrolments", "refusals")),
            *(
                f"integration/{name}"
                for name in (
                    "api/test_api",
                    "privacy/test_erasure",
                    "api/test_scim_sends",
                    "keeping/test_backup",
                )
            ),
        ),
    ),
    Group(
        "web",
        ("sesame/web/**/*.py", "sesame/login/*.py"),
        (
            *("sesame/web/test_*", "sesame/login/test_*", "integration/api/test_api*"),
            *(f"integration/console/test_console_{name}" for name in ("acts", "login", "pages", "rights")),
            *(f"integration/portal/test_portal_{name}" for name in ("forms", "messages", "states")),
            *(
                "integration/portal/test_cas",
                "integration/api/test_scim_in",
                "integration/api/test_scim_sends",
            ),
        ),
    ),
)
