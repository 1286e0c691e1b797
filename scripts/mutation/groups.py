"""What is changed, and which tests judge it: some files, with the unit tests that are about them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_REGISTRAR_TESTS = ("test_identit*", "test_registr*", "test_bad_input")
_PIPELINE_TESTS = (
    "test_announcements",
    "test_bad_input",
    "test_effects*",
    "test_engine*",
    "test_worker*",
    "test_batch_run*",
    "test_call_queue",
    "test_group_commit",
    "test_timers",
    "test_results",
)


@dataclass(frozen=True)
class Group:
    """A subject.

    Attributes:
        name: as `make mutation MUTANTS=name` takes it.
        files: patterns, from the checkout's root.
        tests: patterns of unit tests, or with their folder of others that need no process of their own.
    """

    name: str
    files: tuple[str, ...]
    tests: tuple[str, ...]

    def paths(self, tree: Path) -> list[str]:
        """The files that are changed, by pattern and then by name."""
        return [name for pattern in self.files for name in _found(tree, pattern)]

    def judges(self, tree: Path) -> list[str]:
        """The files of tests."""
        found = (
            _found(tree, f"tests/{pattern if '/' in pattern else f'unit/{pattern}'}.py")
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
        ("test_directory_*", "test_unanswered_writes", "test_previews"),
    ),
    Group(
        "moodle",
        ("consumers/moodle/*.py",),
        (
            *("test_moodle_*", "test_unanswered_writes", "test_previews"),
            *(f"integration/test_moodle_{name}" for name in ("handler", "cohorts", "lost_answers")),
            *(f"integration/test_moodle_{name}" for name in ("outages", "refusals", "rights")),
        ),
    ),
    Group(
        "mailbox",
        ("consumers/mailbox/*.py",),
        ("test_mailbox_*", "test_given_texts", "test_unanswered_writes", "test_previews"),
    ),
    Group("propagation", ("consumers/propagation/*.py",), ("test_propagation*", "test_observed_only")),
    Group(
        "letters",
        ("pipeline/dead_letters/events.py", "pipeline/timers.py"),
        (*_PIPELINE_TESTS, "test_dead_letters_dismissed", "test_replay", "test_outbox"),
    ),
    Group("engine", ("pipeline/engine/*.py",), ("test_engine*",)),
    Group(
        "runner",
        ("pipeline/runner/*.py",),
        (*_PIPELINE_TESTS, "test_lost_records", "test_outbox", "test_replay", "test_running"),
    ),
)
