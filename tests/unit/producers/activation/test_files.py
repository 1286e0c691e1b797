"""What an operator hands over: lists of students and files of passwords, and what is said of bad ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from producers.activation.files import (
    PasswordFileExposed,
    PasswordFileUnusable,
    StudentListUnusable,
    read_passwords,
    read_students,
)

SECRET = "Mot-de-passe:très,long;2026"


def written(folder: Path, text: str, mode: int = 0o600, encoding: str = "utf-8") -> Path:
    path = folder / "liste"
    path.write_bytes(text.encode(encoding))
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    "text",
    [
        "22001234\n22005678\n",
        "\ufeff22001234\r\n22005678\r\n",
        "# licence 1\n\n 22001234 \n22005678\n22001234\n",
        "student_number\n22001234\n22005678\n",
        "nom;student_number\nMartin;22001234\nDurand;22005678\n",
        '"student_number","nom"\n"22001234","Martin, Léa"\n"22005678","Durand"\n',
    ],
)
def test_a_list_has_one_number_per_line_or_a_header(tmp_path: Path, text: str) -> None:
    selected = read_students(written(tmp_path, text, mode=0o644))
    assert selected.students == ("22001234", "22005678")
    assert selected.passwords == {}


@pytest.mark.parametrize(
    "text",
    [
        f"22001234:{SECRET}\n22005678:autre\n",
        f'student_number,password\n22001234,"{SECRET}"\n22005678,autre\n',
        f'student_number;password\r\n22001234;"{SECRET}"\r\n22005678;autre\r\n',
        f"student_number:password\n22001234:{SECRET}\n22005678:autre\n",
    ],
)
def test_passwords_come_as_lines_or_as_csv_and_keep_their_punctuation(tmp_path: Path, text: str) -> None:
    assert read_passwords(written(tmp_path, text)) == {"22001234": SECRET, "22005678": "autre"}


def test_a_list_may_bring_its_passwords_if_it_is_private(tmp_path: Path) -> None:
    text = f'student_number;password\n22001234;"{SECRET}"\n'
    assert read_students(written(tmp_path, text)).passwords == {"22001234": SECRET}
    with pytest.raises(PasswordFileExposed):
        read_students(written(tmp_path, text, mode=0o640))


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620])
def test_a_password_file_that_is_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(PasswordFileExposed) as refused:
        read_passwords(written(tmp_path, f"22001234:{SECRET}\n", mode=mode))
    assert f"{mode:04o}" in str(refused.value)
    assert refused.value.remedy.startswith("chmod 600 ")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"22001234:{SECRET}\n22005678\n", "line 2: 1 columns instead of 2"),
        (f"22001234:{SECRET}\n22005678:\n", "line 2: an empty password"),
        (f"22 001:{SECRET}\n", "line 1: no student number"),
        (f"22001234:{SECRET}\x07\n", "line 1: a password with control characters"),
        (f"22001234:{SECRET}{'x' * 1024}\n", "line 1: a password of more than 1024 characters"),
        (f"22001234:{SECRET}\n#\n22001234:x{SECRET}\n", "line 3: the same student as in line 1"),
        (f"student_number,secret\n22001234,{SECRET}\n", "line 1: a header without"),
        (f"numero:secret\n22001234:{SECRET}\n", "line 1: a header without"),
        ("", "names no student"),
    ],
)
def test_a_fault_of_a_password_file_names_the_line_and_no_password(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(PasswordFileUnusable) as refused:
        read_passwords(written(tmp_path, text))
    assert said in str(refused.value)
    assert refused.value.remedy
    assert SECRET[:8] not in f"{refused.value} {refused.value.remedy}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("22001234;Martin\n", "line 1: no student number"),
        ("22001234\nMartin Léa\n", "line 2: no student number"),
        ("numero\n22001234\n", "line 1: no column student_number"),
        ("student_number;nom\n22001234\n", "line 2: 1 columns instead of 2"),
        ("# personne\n", "names no student"),
    ],
)
def test_a_fault_of_a_list_names_the_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(StudentListUnusable) as refused:
        read_students(written(tmp_path, text))
    assert said in str(refused.value)


def test_many_faults_are_counted_and_not_all_told(tmp_path: Path) -> None:
    with pytest.raises(StudentListUnusable) as refused:
        read_students(written(tmp_path, "?\n" * 25))
    assert "line 10" in str(refused.value)
    assert "line 11" not in str(refused.value)
    assert "15 more lines" in str(refused.value)


def test_a_file_in_another_encoding_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(PasswordFileUnusable) as refused:
        read_passwords(written(tmp_path, "22001234:été\n", encoding="latin-1"))
    assert "UTF-8" in refused.value.remedy


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StudentListUnusable, match="absent"):
        read_students(tmp_path / "absent.txt")
