"""`activate`: nobody's number, and figures of everybody."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from examples.generate import write
from sesame.testing.servers.command import sesame

NOBODY = "99999999"


@pytest.fixture(autouse=True)
def site(command_folder: Path) -> Path:
    assert sesame("vault", "init").exit_code == 0
    return command_folder


def imported(students: int) -> str:
    """The first of so many students, whom an import has just brought."""
    with Path("export.csv").open("w", encoding="utf-8", newline="") as file:
        write(file, students=students, year=2026)
    assert sesame("import", "export.csv").exit_code in (0, 3)  # an example has bad lines
    return Path("export.csv").read_text(encoding="utf-8").splitlines()[1].split(";")[0]


def test_a_number_that_nobody_has_is_said_to_be_nobody_s_each_time() -> None:
    for asked in ("1 asked for, 0 were before", "0 asked for, 1 were before"):
        result = sesame("activate", NOBODY)
        assert result.exit_code == 1
        assert asked in result.stdout
        assert f"Nobody has this student number: {NOBODY}" in result.stderr
        assert "kept for 14 days" in result.stderr


def test_somebody_whom_the_registry_has_not_read_yet_is_somebody() -> None:
    number = imported(1)
    result = sesame("activate", number)
    assert result.exit_code == 0
    assert f"imported, and not read by the registry yet; goes on by itself: {number}" in result.stderr
    both = sesame("activate", number, NOBODY, "--json")
    assert both.exit_code == 3
    told = json.loads(both.stdout)
    assert (told["on_their_way"], told["not_known_yet"]) == ([number], [NOBODY])


def private(text: str) -> str:
    """A file of passwords that nobody else may read."""
    path = Path("passwords")
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_password_that_a_student_might_not_choose_is_refused_and_nobody_is_activated() -> None:
    weak = "22600001:abc\n22600002:Motdepasse2026!\n22600003:xX!22600003-vTq2\n"
    file = private(f"{NOBODY}:kX9!vTq2#mLp\n{weak}")
    asked = ("activate", NOBODY, "22600001", "22600002", "22600003", "--password-file", file)
    for command in (asked, (*asked, "--dry-run"), ("activate", "--all", "--yes", "--password-file", file)):
        result = sesame(*command)
        assert result.exit_code == 1
        told = result.stderr
        assert "3 passwords are too weak: 22600001: too short, or of too few kinds" in told
        assert "(at least 12 of 4 kinds, 14 of one kind less, or 7 words), common, or easy to guess;" in told
        assert "; 22600002: common, or easy to guess; 22600003: holds a name, a date or a number" in told
        assert "nothing was activated" in told
        assert not any(password in told for password in ("abc", "Motdepasse", "vTq2"))
    of_one = sesame("activate", NOBODY, "--password-file", file).stdout
    assert "1 asked for, 0 were before" in of_one, "nobody was asked for, and others' passwords do not matter"


def test_what_a_password_must_be_is_the_setting_of_the_students_pages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = private(f"{NOBODY}:kX9!vTq2#mLp\n")
    monkeypatch.setenv("SESAME_PASSWORD__LENGTH_MIN", "13")
    monkeypatch.setenv("SESAME_PASSWORD__WORDS_REFUSED", '["vTq2"]')
    result = sesame("activate", NOBODY, "--password-file", file)
    assert "(at least 13 of 4 kinds, 15 of one kind less, or 7 words)" in result.stderr
    monkeypatch.setenv("SESAME_PASSWORD__LENGTH_MIN", "12")
    monkeypatch.setenv("SESAME_PORTAL__INSTITUTION", "Université de Zanzibar")
    named = private(f"{NOBODY}:Zanzibar-9!vTq2#m\n")
    assert "holds a name" in sesame("activate", NOBODY, "--password-file", named).stderr
    file = private(f"{NOBODY}:kX9!vTq2#mLp\n")
    assert "1 asked for" in sesame("activate", NOBODY, "--password-file", file).stdout


# --- first courses ----------------------------------------------------------------------------------------


def test_a_file_of_first_courses_that_cannot_be_used_says_where_and_nobody_is_activated(
    tmp_path: Path,
) -> None:
    imported(3)
    for name, content, fault in (
        (
            "a.csv",
            "component;begins\nSCI;2026-09-07T08:00\nLET;half past nine\n",
            "line 3: 'half past nine' is no",
        ),
        ("b.csv", "component;begins\n;2026-09-07T08:00\n", "line 2: no component"),
        ("c.csv", "code;begins\nSCI;2026-09-07T08:00\n", "line 1: no column component"),
        ("d.csv", "component;begins\n", "names no component"),
        ("e.ics", "component;begins\n", "is no calendar"),
        ("f.csv", "component;begins\nSCI\n", "line 2: '' is no time"),
    ):
        file = tmp_path / name
        file.write_text(content, encoding="utf-8")
        for command in (("activate", "--all", "--yes"), ("import", "export.csv")):
            result = sesame(*command, "--first-courses", str(file))
            assert result.exit_code == 2, result.stderr
            assert f"{file}" in result.stderr
            assert fault in result.stderr
            assert "component` and `begins` (2026-09-07T08:00" in " ".join(result.stderr.split())


def test_first_courses_belong_to_all() -> None:
    Path("c.csv").write_text("component;begins\nSCI;2026-09-07T08:00\n", encoding="utf-8")
    result = sesame("activate", NOBODY, "--first-courses", "c.csv")
    assert result.exit_code == 2
    assert "--first-courses belongs to --all" in result.stderr
    result = sesame("import", "--groups", "c.csv", "--first-courses", "c.csv")
    assert result.exit_code == 2
    assert "--first-courses is about FILE" in result.stderr
