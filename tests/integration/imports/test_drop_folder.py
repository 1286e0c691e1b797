"""The folder of the registrar's files: each once, whole, none of last year's; and a mail about each."""

from __future__ import annotations

import fcntl
import json
import shlex
import shutil
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import select

from pipeline.db.database import Database
from pipeline.vault import new_key
from producers.registrar import polls
from producers.registrar.feed_memory import feed_rows, teaching_rows
from sandbox.smtp import MailSink
from sesame.cli import main
from sesame.operations.imports import drop_folder

OFFICE, OTHER = "scolarite@univ-exemple.fr", "Scolarite-Lyon@univ-exemple.fr"
HEADER = (
    "COD_ETU;COD_NNE_IND;LIB_NOM_PAT_IND;LIB_NOM_USU_IND;LIB_PR1_IND;DATE_NAI_IND;MAIL_PERSO;COD_ANU;COD_ETP;"
    "COD_VRS_VET;COD_CMP;LIB_ETP;TEM_IAE_PRM;ETA_IAE;ETA_PMT_IAE;IP_VALIDE\n"
)


def line(number: int, name: str, *, year: int = 2026, born: str = "04/05/2007", state: str = "E") -> str:
    return (
        f"{number};;{name};;Léa;{born};lea.{number}@example.org;{year};L1INFO;261;SCI;L1 Info;O;{state};P;O\n"
    )


@dataclass
class Drop:
    """A folder, a site, and its mail server."""

    folder: Path
    config: Path
    sink: MailSink
    database: Database

    def put(self, name: str, *lines: str, groups: bool = False) -> Path:
        folder = self.folder / "groups" if groups else self.folder
        folder.mkdir(exist_ok=True)
        path = folder / name
        path.write_text((HEADER if not groups else "") + "".join(lines), encoding="utf-8")
        return path

    def collect(self, *more: str, to: tuple[str, ...] = (OFFICE,)) -> tuple[int, dict[str, Any], str]:
        """Exit code, report, and what was told beside it."""
        mails = [word for each in to for word in ("--mail-to", each)]
        words = [
            "--config",
            str(self.config),
            "imports",
            "collect",
            str(self.folder),
            *mails,
            "--json",
            *more,
        ]
        done = CliRunner().invoke(main, words, prog_name="sesame")
        assert not isinstance(done.exception, Exception), done.exception
        return done.exit_code, json.loads(done.stdout) if done.stdout else {}, done.stderr

    def ends(self, *more: str) -> list[str]:
        return [each["end"] for each in self.collect(*more)[1]["files"]]

    def as_told(self) -> int:
        """Give the command of the newest mail, word for word; its exit code."""
        told = " ".join(text_of(self.mails()[-1]).split())
        program, *words = shlex.split(told[told.index("sesame import ") :])
        assert program == "sesame"
        words = ["--config", str(self.config), *words]
        return CliRunner().invoke(main, words, prog_name="sesame").exit_code

    def mails(self, to: str = OFFICE) -> list[EmailMessage]:
        return self.sink.messages(to)

    def people(self) -> set[tuple[str, int]]:
        with self.database.read() as connection:
            live = select(feed_rows.c.student_number, feed_rows.c.year).where(feed_rows.c.live.is_(True))
            return {(row[0], row[1]) for row in connection.execute(live)}

    def below(self, place: str) -> list[str]:
        """Names in one of its folders, without the moment in front."""
        return sorted(path.name[16:] for path in (self.folder / place).glob("*"))


@pytest.fixture(scope="module")
def sink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MailSink]:
    with MailSink(tmp_path_factory.mktemp("smtp")) as sink:
        yield sink


@pytest.fixture
def drop(tmp_path: Path, sink: MailSink, monkeypatch: pytest.MonkeyPatch) -> Iterator[Drop]:
    monkeypatch.setattr(drop_folder, "SETTLED_S", 0.0)
    for path in sink.folder.iterdir():
        path.unlink()
    data, folder = tmp_path / "data", tmp_path / "dépôt"
    data.mkdir(mode=0o700)
    folder.mkdir()
    (data / "vault.key").write_text(new_key())
    (data / "vault.key").chmod(0o600)
    config = tmp_path / "sesame.toml"
    config.write_text(
        f'data_dir = "{data}"\n[registrar]\nprofile = "apogee"\n[smtp]\nhost = "localhost"\n'
        f'port = {sink.port}\nca_file = "{sink.ca_file}"\n',
        encoding="utf-8",
    )
    with closing(Database(f"sqlite:///{data / 'sesame.db'}")) as database:
        yield Drop(folder, config, sink, database)


def text_of(message: EmailMessage) -> str:
    body = message.get_body(("plain",))
    assert body is not None
    return str(body.get_content()).replace("\u00a0", " ").replace("\u202f", " ")


def test_each_file_is_taken_once_and_told_in_french_to_everybody(drop: Drop) -> None:
    drop.put("a.csv", line(1, "Martin"), line(2, "Bernard", born="31/02/2007"))
    drop.put("A.csv", line(3, "Petit"))
    code, found, _ = drop.collect(to=(OFFICE, OTHER))
    assert (code, sorted(each["end"] for each in found["files"])) == (3, ["imported", "imported"])
    assert drop.people() == {("1", 2026), ("3", 2026)}
    assert drop.below("taken") == ["A.csv", "a.csv", "a.rejects.csv"]
    assert len(drop.mails()) == len(drop.mails(OTHER)) == 2
    [mail] = [each for each in drop.mails() if "a.csv" in each["Subject"]]
    assert "importé, sauf 1 ligne" in mail["Subject"].replace("\u00a0", " ")
    assert "2 lignes" in text_of(mail)
    assert "1 ligne refusée" in text_of(mail)
    assert "sont jointes" in text_of(mail)
    [attached] = list(mail.iter_attachments())
    assert str(attached.get_filename()).endswith("a.rejects.csv")
    assert "31/02/2007" in attached.get_content()
    assert "calendrier" in attached.get_content(), "the refused lines are in French, too"
    assert drop.collect()[:2] == (0, {"files": [], "arriving": 0})
    assert len(drop.mails()) == 2


def test_a_file_that_is_still_being_written_is_left_until_it_rests(
    drop: Drop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drop_folder, "SETTLED_S", 0.5)
    path = drop.put("export.csv", line(1, "Martin"))
    drop.put("other.csv.part", line(2, "Bernard"))
    (drop.folder / ".hidden.csv").write_text("x", encoding="utf-8")
    assert drop.collect()[1] == {"files": [], "arriving": 2}
    time.sleep(0.4)
    with path.open("a", encoding="utf-8") as file:
        file.write(line(3, "Petit"))
    assert drop.collect()[1]["arriving"] == 2, "it was written to just now"
    time.sleep(0.6)
    assert drop.ends() == ["imported"]
    assert drop.people() == {("1", 2026), ("3", 2026)}
    assert {path.name for path in drop.folder.iterdir() if path.is_file()} == {
        "other.csv.part", ".hidden.csv", ".sesame.lock",
    }  # fmt: skip


def test_one_that_came_twice_takes_nothing_back(drop: Drop) -> None:
    first = drop.put("monday.csv", line(1, "Martin"))
    copy = shutil.copy(first, drop.folder.parent / "copy")
    assert drop.ends() == ["imported"]
    drop.put("tuesday.csv", line(1, "Martin", state="A"))
    assert drop.ends() == ["imported"]
    shutil.move(copy, drop.folder / "monday again.csv")
    assert drop.ends() == ["repeated"]
    assert drop.people() == set(), "Tuesday's cancellation stays"
    assert "monday.csv" in text_of(drop.mails()[-1])
    assert drop.below("taken") == ["monday again.csv", "monday.csv", "tuesday.affected.csv", "tuesday.csv"]


def test_last_year_s_waits_for_a_person_and_the_command_in_the_mail_imports_it(drop: Drop) -> None:
    drop.put("now.csv", line(1, "Martin"))
    drop.put("before.csv", line(2, "Bernard", year=2025))
    drop.put("both.csv", line(3, "Petit"), line(4, "Durand", year=2025))
    assert sorted(drop.ends()) == ["imported", "imported", "last_year"], "one has this year's, too"
    path = drop.put("old.csv", line(5, "Robert", year=2025))
    code, found, _ = drop.collect()
    assert (code, [each["end"] for each in found["files"]]) == (5, ["last_year"])
    assert not path.exists()
    assert ("5", 2025) not in drop.people()
    told = text_of(drop.mails()[-1])
    assert "2025" in told
    assert drop.as_told() == 0
    assert ("5", 2025) in drop.people()


def test_what_the_guard_holds_waits_and_the_command_in_the_mail_lets_it_go_on(drop: Drop) -> None:
    names = ["Martin", "Bernard", "Petit", "Durand", "Robert", "Richard", "Simon", "Laurent"]
    drop.put("whole.csv", *(line(n, name) for n, name in enumerate(names)))
    assert drop.ends() == ["imported"]
    drop.put("half.csv", *(line(n, name, state="A") for n, name in enumerate(names)))
    code, found, _ = drop.collect()
    assert (code, found["files"][0]["end"]) == (5, "held")
    assert len(drop.people()) == len(names)
    assert drop.below("held") == ["half.affected.csv", "half.csv"]
    told = text_of(drop.mails()[-1])
    approval = found["files"][0]["report"]["approval"]
    assert f"--approve {approval}" in told.replace("\n", " ")
    assert drop.as_told() == 0
    assert drop.people() == set()


def test_the_command_in_the_mail_has_the_options_of_the_folder_and_is_of_the_second_file(drop: Drop) -> None:
    names = ["Martin", "Bernard", "Petit", "Durand", "Robert", "Richard", "Simon", "Laurent"]
    drop.put("whole.csv", *(line(n, name) for n, name in enumerate(names)))
    header = "COD_ETU;COD_ANU;COD_ELP;LIB_ELP;COD_GPE\n"
    drop.put("whole.csv", header, *(f"{n};2026;INF101;Info;TD1\n" for n in range(8)), groups=True)
    full = ("--full-year", "2026", "--profile", "apogee")
    assert drop.ends(*full) == ["imported", "imported"]
    drop.put("one.csv", header, "0;2026;INF101;Info;TD1\n", groups=True)
    assert drop.ends(*full) == ["held"]
    assert drop.as_told() == 0
    with drop.database.read() as connection:
        listed = select(teaching_rows.c.student_number).where(teaching_rows.c.listed != "[]")
        assert list(connection.scalars(listed)) == ["0"]
    drop.put("one.csv", line(0, "Martin"))
    assert drop.ends(*full) == ["held"]
    assert drop.as_told() == 0
    assert drop.people() == {("0", 2026)}


def test_a_link_shows_nobody_what_it_leads_to(drop: Drop) -> None:
    (drop.folder / "export.csv").symlink_to(drop.folder.parent / "data" / "vault.key")
    assert drop.ends() == ["refused"]
    [mail] = drop.mails()
    assert "lien" in text_of(mail)
    assert list(mail.iter_attachments()) == []


def test_what_cannot_be_read_holds_up_no_other_and_is_told_with_its_remedy(drop: Drop) -> None:
    (drop.folder / "notes.docx").write_bytes(b"PK\x03\x04nonsense")
    drop.put("export.csv", line(1, "Martin"))
    code, found, _ = drop.collect()
    assert code == 3
    assert sorted(each["end"] for each in found["files"]) == ["imported", "refused"]
    assert drop.below("held") == ["notes.docx"]
    [mail] = [each for each in drop.mails() if "notes.docx" in each["Subject"]]
    assert "refus" in mail["Subject"]
    assert drop.people() == {("1", 2026)}


def test_the_second_file_comes_to_a_folder_of_its_own(drop: Drop) -> None:
    drop.put("export.csv", line(1, "Martin"), line(2, "Bernard"))
    groups = "COD_ETU;COD_ANU;COD_ELP;LIB_ELP;COD_GPE\n1;2026;INF101;Informatique;TD1\n"
    drop.put("export.csv", groups, groups=True)
    assert drop.ends() == ["imported", "imported"]
    assert drop.below("taken") == drop.below("groups/taken") == ["export.csv"]
    with drop.database.read() as connection:
        assert list(connection.scalars(select(teaching_rows.c.student_number))) == ["1"]


def test_a_mail_that_the_server_does_not_take_is_kept_and_sent_the_next_time(drop: Drop) -> None:
    drop.put("a.csv", line(1, "Martin"))
    drop.sink.stop()
    try:
        code, found, told = drop.collect()
    finally:
        drop.sink.start()
    assert (code, found["files"][0]["end"]) == (4, "imported")
    assert OFFICE in told
    [kept] = (drop.folder / "unsent").iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert drop.mails() == []
    assert drop.collect()[0] == 0
    assert len(drop.mails()) == 1
    assert list((drop.folder / "unsent").iterdir()) == []


def test_a_run_that_was_cut_off_is_finished_by_the_next_and_two_do_not_run_at_once(
    drop: Drop, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop.put("a.csv", line(1, "Martin"))
    drop.put("b.csv", line(2, "Bernard"))
    monkeypatch.setattr(drop_folder, "import_files", killed)
    assert drop.collect()[0] == 1
    assert drop.below("work") == ["a.csv", "b.csv"]
    monkeypatch.undo()
    monkeypatch.setattr(drop_folder, "SETTLED_S", 0.0)
    with (drop.folder / ".sesame.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        assert drop.collect()[0] == 4
    drop.put("a.csv", line(3, "Petit"))
    assert drop.ends() == ["imported"] * 3
    assert drop.people() == {("1", 2026), ("2", 2026), ("3", 2026)}
    with drop.database.read() as connection:
        [poll] = polls.all_polls(connection)
    assert poll.feed == "folder"
    assert poll.finished_at is not None


def killed(*_given: Any, **_more: Any) -> None:
    raise RuntimeError


def test_a_folder_that_cannot_be_written_is_named(drop: Drop) -> None:
    (drop.folder / ".sesame.lock").mkdir()
    code, _, told = drop.collect()
    assert code == 2
    assert ".sesame.lock" in told
