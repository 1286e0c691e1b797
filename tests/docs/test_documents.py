"""What the documents name exists: commands, settings, metrics, topics, tests, tokens, codes."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from consumers.moodle.causes import MoodleCause
from consumers.moodle.functions import NEEDED
from producers.registrar.faults import REMEDIES, Fault
from producers.registrar.mapping import FIELDS, GROUP_FIELDS
from producers.registrar.profile import FeedProfile
from producers.registrar.profiles import apogee, apogee_groups, pegase, pegase_groups
from producers.registrar.sheets import MEANINGS
from schemas.catalogue import TOPICS
from schemas.envelope import EnvelopeError
from schemas.events import EVENT_TYPES, TYPE_PREFIX
from sesame.app.observability.metrics import Metrics
from sesame.cli import main
from sesame.cli.errors import ExitCode
from sesame.operations.people.diagnosis.reasons import explanations
from sesame.settings.page import documented
from tests.docs.documents import ROOT, commands, documents, words_in_code

REFERENCE = ROOT / "docs" / "reference"


def page(name: str) -> str:
    return (REFERENCE / name).read_text(encoding="utf-8")


# --- commands -----------------------------------------------------------------------------------------


def parse(arguments: list[str]) -> None:
    """Parse a command line of `sesame` to its end without running it; files need not exist."""
    command: click.Command = main
    context = click.Context(command, info_name="sesame", **command.context_settings)
    while isinstance(command, click.Group):
        _options, rest, _order = command.make_parser(context).parse_args(arguments)
        if not rest and command.invoke_without_command:  # `sesame adopt` is a command itself
            return
        assert rest, f"`{' '.join(arguments)}` ends at a group of commands"
        _name, below, arguments = command.resolve_command(context, rest)
        assert below is not None
        context = click.Context(below, info_name=below.name, parent=context)
        command = below
    command.make_context(command.name, arguments, parent=context)


@pytest.fixture
def any_file_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(click.Path, "convert", lambda _self, value, _param, _ctx: value)


@pytest.mark.usefixtures("any_file_will_do")
def test_every_documented_command_of_sesame_can_be_typed() -> None:
    found = list(commands("sesame"))
    assert len(found) > 20
    wrong = []
    for where, arguments in found:
        try:
            parse(list(arguments))
        except click.UsageError as error:
            wrong.append(f"{where}: sesame {' '.join(arguments)}: {error.format_message()}")
    assert wrong == []


@pytest.mark.usefixtures("any_file_will_do")
@pytest.mark.parametrize(
    "line",
    ["frobnicate", "provision", "status", "import a b", "vault", "replay --consumer x --fast", "run now"],
)
def test_a_command_that_cannot_be_typed_is_found(line: str) -> None:
    with pytest.raises((click.UsageError, AssertionError)):
        parse(line.split())


def test_every_command_that_the_prose_names_exists() -> None:
    named = {text for _, text in words_in_code() if re.match(r"sesame [a-z-]+", text)}
    assert len(named) > 15
    wrong = []
    for text in named:
        command: click.Command | None = main
        words = text.split()[1:]
        while isinstance(command, click.Group) and words:
            command = command.get_command(click.Context(main, **main.context_settings), words.pop(0))
        options = {option for each in command.params for option in each.opts} if command else set()
        if command is None or {word for word in words if word.startswith("--")} - options - {"--help"}:
            wrong.append(text)
    assert wrong == []


def test_every_documented_target_of_make_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    known = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
    typed = {word for _where, words in commands("make") for word in words if re.fullmatch(r"[a-z-]+", word)}
    named = {text.split()[1] for _, text in words_in_code() if re.match(r"make [a-z]+", text)}
    assert "demo" in typed
    assert (typed | named) - known == set()


# --- names --------------------------------------------------------------------------------------------


def test_every_documented_setting_exists() -> None:
    sections = {name: set(model.model_fields) for name, model in documented().sections().items()}
    others = {event_type.removeprefix(TYPE_PREFIX).removesuffix(".v1") for event_type in EVENT_TYPES}
    others |= {"vault.key", "privacy.key", "store.life"}  # files
    wrong = []
    for where, text in words_in_code():
        found = re.match(r"([a-z]+)\.([a-z_]+)( = .*)?$", text)
        if found and found[1] in sections and text not in others and found[2] not in sections[found[1]]:
            wrong.append(f"{where}: {text}")
    assert wrong == []


def test_every_documented_variable_is_a_setting() -> None:
    sections = documented().sections()
    known = {
        f"SESAME_{name}__{field}".upper() for name, model in sections.items() for field in model.model_fields
    }
    known |= {f"SESAME_{name}".upper() for name in documented().model_fields}
    known |= {"SESAME_CONFIG", "SESAME_DEBUG"}
    text = "\n".join(path.read_text(encoding="utf-8") for path in documents())
    assert set(re.findall(r"\bSESAME_[A-Z_]*[A-Z]", text)) - known == set()


def test_every_documented_metric_exists() -> None:
    known = {each.name for each in Metrics().definitions}
    named = {word for _, text in words_in_code() for word in re.findall(r"\bsesame_[a-z_]+", text)}
    assert named - known == set()


def test_every_documented_topic_exists() -> None:
    named = {text for _, text in words_in_code() if re.fullmatch(r"sesame\.[a-z.-]+", text)}
    files = {"sesame.toml", "sesame.db", "sesame.conf", "sesame.schema"}

    def is_module(name: str) -> bool:
        path = ROOT / name.replace(".", "/")
        return path.is_dir() or path.with_suffix(".py").is_file()

    files |= {path.name for path in (ROOT / "ops" / "systemd").iterdir()}
    assert {name for name in named - set(TOPICS) - files if not is_module(name)} == set()


def test_every_test_that_a_document_cites_exists() -> None:
    cited = {text for _, text in words_in_code() if "::" in text}
    assert len(cited) > 30
    wrong = []
    for each in cited:
        file, _, name = each.partition("::")
        source = ROOT / file
        if not source.is_file() or f"\ndef {name}(" not in source.read_text(encoding="utf-8"):
            wrong.append(each)
    assert wrong == []


def test_every_file_of_ours_that_a_document_names_exists() -> None:
    rooms = (
        "schemas/",
        "pipeline/",
        "consumers/",
        "producers/",
        "sesame/",
        "sandbox/",
        "ops/",
        "tests/",
        "scripts/",
    )
    named = {(where, text) for where, text in words_in_code() if text.startswith(rooms) and "::" not in text}
    assert named
    assert [(where, text) for where, text in sorted(named) if not list(ROOT.glob(text.rstrip("/")))] == []


def test_the_path_of_one_student_is_as_the_files_are() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").split("path -->")[1]
    rows = re.findall(r"^\| [^|]+ \| `([\w/]+\.py)` \| `([\w.]+)` \| (.+) \|$", text, re.MULTILINE)
    assert len(rows) > 70
    for file, function, sentence in rows:
        source = (ROOT / file).read_text(encoding="utf-8")
        name = function.split(".")[-1]
        assert re.search(rf"^ *def {name}\(", source, re.MULTILINE), f"make pictures: {file} has no {name}"
        assert " ".join(source.split()).startswith(f'"""{sentence}'), f"make pages: {file}"


# --- pages that list everything -----------------------------------------------------------------------


def test_the_architecture_names_every_room_layer_and_contract() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    settings = project["tool"]["importlinter"]
    contracts = {each["id"]: each for each in settings["contracts"]}
    assert [name for name in contracts if f"`{name}`" not in text] == []
    assert [room for room in settings["root_packages"] if f"\n{room}/" not in text] == []
    for identity in ("rooms", "pipeline"):
        drawn = re.search(rf"^{identity} +((?:.*\n)(?: +→.*\n)*)", text, re.MULTILINE)
        assert drawn is not None
        layers = [re.split(r" {2,}\(|  exhaustive", each)[0].strip() for each in re.split("→", drawn[1])]
        assert [re.sub(r"\s{2,}.*", "", layer) for layer in layers] == contracts[identity]["layers"]


@pytest.mark.parametrize("profile", [apogee(), pegase()], ids=lambda profile: profile.name)
def test_a_profiles_page_names_every_column_and_code(profile: FeedProfile) -> None:
    text = page(f"{profile.name}-profile.md")
    named = [column for column in profile.columns if column.name]
    assert [column.name for column in named if f"| `{column.name}` |" not in text] == []
    for column in named:
        row = next(line for line in text.splitlines() if line.startswith(f"| `{column.name}` |"))
        assert [code for code in column.values or {} if f"`{code}`" not in row] == []


@pytest.mark.parametrize("profile", [apogee_groups(), pegase_groups()], ids=lambda profile: profile.name)
def test_the_page_of_the_second_file_names_every_column_and_code(profile: FeedProfile) -> None:
    text = page("groups-file.md")
    assert f"`{profile.name}`" in text
    for column in profile.columns:
        row = next(line for line in text.splitlines() if line.startswith(f"| `{column.name}` |"))
        assert [code for code in column.values or {} if f"`{code}`" not in row] == []


def test_the_page_about_mappings_names_every_field_of_the_second_file() -> None:
    text = page("mapping.md").partition("## The file of teaching units and groups")[2]
    for field, (_required, words) in GROUP_FIELDS.items():
        row = re.search(rf"^\|[^|]*`{field}`[^|]*\|(.*)$", text, re.MULTILINE)
        assert row is not None, field
        assert [word for word in words if f"`{word}`" not in row[1]] == []


def test_the_page_of_rejections_names_every_fault_and_remedy() -> None:
    text = page("rejections.md")
    assert re.findall(r"^\| `([a-z_]+)` \|", text, re.MULTILINE) == [fault.value for fault in Fault]
    assert [fault for fault, remedy in REMEDIES.items() if f"| {remedy} |" not in text] == []


def test_the_page_about_mappings_names_every_field_and_its_words() -> None:
    text = page("mapping.md")
    for field, (required, words) in FIELDS.items():
        row = re.search(rf"^\| `{field}` \|(.*)$", text, re.MULTILINE)
        assert row is not None, field
        assert [word for word in words if f"`{word}`" not in row[1]] == []
        assert ("| yes |" in row[1]) is required


def test_the_how_to_of_imports_explains_every_change_that_may_hold_a_file() -> None:
    text = (ROOT / "docs" / "how-to" / "import-nightly.md").read_text(encoding="utf-8")
    assert [change for change, meaning in MEANINGS.items() if f"| `{change}` | {meaning} |" not in text] == []


def test_the_page_of_exit_codes_has_them_all() -> None:
    listed = re.findall(r"^\| (\d+) \| ([a-z_]+) \|", page("exit-codes.md"), re.MULTILINE)
    assert {(int(code), name.upper()) for code, name in listed} == {
        (code.value, code.name) for code in ExitCode
    }


def test_the_page_about_moodle_names_every_function_and_capability() -> None:
    text = (ROOT / "docs" / "how-to" / "connect-moodle.md").read_text(encoding="utf-8")
    assert [function for function in NEEDED if f"`{function}`" not in text] == []
    module = (ROOT / "consumers" / "moodle" / "__init__.py").read_text(encoding="utf-8")
    wanted = set(re.findall(r"`((?:moodle|webservice)/[a-z:/]+)`", module))
    assert len(wanted) == len(re.findall(r"`(?:moodle|webservice)/[a-z]+:[a-z]+`", text))
    assert [capability for capability in wanted if f"`{capability}`" not in text] == []


# --- tokens -------------------------------------------------------------------------------------------

OUTCOMES = {"Waiting", "Retry", "Dead", "Refused", "Unsettled", "Rejected"}


def tokens_in(path: Path) -> Iterator[str]:
    """First arguments of outcomes, and constants that look like one and are given to an outcome."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    constants = {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Constant)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        given = node.args[0]
        value = constants.get(given.id) if isinstance(given, ast.Name) else getattr(given, "value", None)
        if name in OUTCOMES and isinstance(value, str):
            yield value


def every_token() -> set[str]:
    found = {
        token
        for room in ("pipeline", "consumers")
        for path in (ROOT / room).rglob("*.py")
        for token in tokens_in(path)
    }
    errors: list[type[EnvelopeError]] = [EnvelopeError, *EnvelopeError.__subclasses__()]
    unreadable = {each.cause for each in errors}
    return found | {cause.value for cause in MoodleCause} | set(explanations()) | unreadable


def test_every_reason_and_cause_is_on_its_page() -> None:
    found = every_token()
    assert {
        "identity_collision",
        "credential_needed",
        "mailbox_full",
        "moodle_busy",
        "unknown_student",
    } <= found
    assert sorted(found - explanations().keys()) == []


# --- the first page -----------------------------------------------------------------------------------


def readme() -> str:
    return (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readme_begins_with_the_one_command_that_a_fresh_machine_needs() -> None:
    first = next(line for line in re.split(r"^```sh\n", readme(), flags=re.MULTILINE)[1].splitlines())
    assert first == "apt-get install -y git make python3-venv"


def test_the_table_of_the_demo_stands_between_its_marks() -> None:
    table = re.search(
        r"<!-- demo-table -->\n+```text\n(.+?)\n```\n+<!-- /demo-table -->", readme(), re.DOTALL
    )
    assert table is not None
    assert "students activated" in table[1]


def test_every_page_of_the_documentation_is_reachable_from_its_index() -> None:
    listed = subprocess.run(["git", "ls-files", "docs"], cwd=ROOT, capture_output=True, text=True, check=True)
    index = "".join(
        (ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("README.md", "adr/README.md")
    )
    names = [Path(name).name for name in listed.stdout.split() if name.endswith(".md")]
    assert [name for name in names if name != "README.md" and name not in index] == []


# --- decisions ----------------------------------------------------------------------------------------


def test_every_decision_that_is_cited_exists_and_no_number_is_forgotten() -> None:
    folder = Path("docs/adr")
    existing = {int(path.name[:4]) for path in (ROOT / folder).glob("[0-9]*.md")}
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    wrong = []
    for name in listed.stdout.split("\0"):
        path = ROOT / name
        if not path.is_file() or path.is_symlink() or Path(name) == folder / "README.md":
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        cited = re.findall(r"\bADRs?[\s#*]+(\d+)", text) + re.findall(r"\badr/(\d{4})", text)
        wrong += [f"{name}: ADR {number}" for number in cited if int(number) not in existing]
    assert wrong == []

    table = (ROOT / folder / "README.md").read_text(encoding="utf-8")
    there, gone = table.split("## What became of a number")
    in_force = {int(number) for number in re.findall(r"^\| \[(\d+)\]\(\d{4}-", there, re.MULTILINE)}
    removed = {int(number) for number in re.findall(r"^\| (\d+) \|", gone, re.MULTILINE)}
    assert in_force == existing - {0}
    assert in_force.isdisjoint(removed)
    assert in_force | removed == set(range(1, max(in_force | removed) + 1))
