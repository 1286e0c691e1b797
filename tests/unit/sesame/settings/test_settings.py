"""Settings: from a file, the environment and secret files to one value, or to an explanation."""

from __future__ import annotations

import re
import shlex
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import make_url

from sesame.settings import MoodleSettings, SecretUnreadable, Section, Settings, SettingsError, load
from sesame.settings.page import documented, settings_page

_EXAMPLE = Path(__file__).parents[4] / "sesame" / "settings" / "sesame.toml"

Written = Callable[[str], Path]


@pytest.fixture(autouse=True)
def nothing_around(no_variables: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable and no file of this machine takes part."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """Writes a settings file."""

    def write(text: str) -> Path:
        path = tmp_path / "site" / "sesame.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


def complaint(config: Path | None = None) -> str:
    with pytest.raises(SettingsError) as caught:
        load(config)
    return str(caught.value)


def secret_file(folder: Path, content: str = "tr3s-secret\n", mode: int = 0o600) -> Path:
    path = folder / "secret"
    path.write_text(content, encoding="utf-8")
    path.chmod(mode)
    return path


def test_without_a_file_the_defaults_hold() -> None:
    settings = load()
    assert settings.targets == ("directory", "mailbox", "moodle")
    assert settings.store_url.get_secret_value() == "sqlite:////var/lib/sesame/sesame.db"
    assert settings.propagation.late_s == 15 * 60
    assert settings.propagation.breach_s == 60 * 60


def test_the_environment_wins_over_the_file_and_the_file_over_the_defaults(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SESAME_HTTP__PORT", "9999")
    settings = load(written("[http]\nport = 8888\nhost = '::1'\n"))
    assert (settings.http.port, settings.http.host) == (9999, "::1")


def test_a_list_in_the_environment_is_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESAME_TARGETS", '["directory"]')
    assert load().targets == ("directory",)


def test_a_list_in_the_environment_that_is_no_json_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESAME_TARGETS", "directory,moodle")
    assert "JSON" in complaint()


def test_the_file_named_by_the_variable_is_read(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESAME_CONFIG", str(written("[http]\nport = 7777\n")))
    assert load().http.port == 7777


def test_the_file_in_the_working_directory_is_found(tmp_path: Path) -> None:
    (tmp_path / "sesame.toml").write_text("[http]\nport = 6666\n", encoding="utf-8")
    assert load().http.port == 6666


def test_a_file_that_was_named_and_is_missing_is_an_error(tmp_path: Path) -> None:
    assert "does not exist" in complaint(tmp_path / "nowhere.toml")


def test_a_relative_path_in_the_file_is_relative_to_the_files_folder(written: Written) -> None:
    config = written('data_dir = "data"\n[moodle]\ntoken_file = "secrets/token"\nca_file = "/etc/ca.pem"\n')
    settings = load(config)
    assert settings.data_dir == config.parent / "data"
    assert settings.moodle.token_file == config.parent / "secrets/token"
    assert settings.moodle.ca_file == Path("/etc/ca.pem")
    assert settings.vault_key_file == config.parent / "data/vault.key"
    assert settings.log_path == config.parent / "data/events.db"


def test_an_unknown_key_names_the_file_the_line_and_the_nearest_name(written: Written) -> None:
    config = written("[http]\nport = 1\n\n[moodle]\nmax_input_var = 5000\n")
    said = complaint(config)
    assert f"{config}, line 5, moodle.max_input_var: unknown; did you mean moodle.max_input_vars?" in said


def test_a_key_in_the_wrong_section_is_sent_to_the_right_one(written: Written) -> None:
    assert "http.late_s: unknown; did you mean propagation.late_s?" in complaint(
        written("[http]\nlate_s = 60\n")
    )


def test_an_unknown_section_names_the_nearest_one(written: Written) -> None:
    assert "moodel: unknown; did you mean moodle?" in complaint(written('[moodel]\nauth = "cas"\n'))


def test_a_key_like_no_other_lists_those_that_there_are(written: Written) -> None:
    assert "log has kind, partitions, servers" in complaint(written("[log]\nzzzz = 1\n"))


def test_an_unknown_variable_is_an_error_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESAME_HTPP__PORT", "1")
    monkeypatch.setenv("SESAME_HTTP__PROT", "1")
    said = complaint()
    assert "environment, SESAME_HTPP__PORT: unknown; did you mean http.port?" in said
    assert "unknown; did you mean http.port?" in said.splitlines()[2]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[http]\nport = 70000", "http.port: must be at most 65535, and is 70000"),
        ('[http]\nport = "many"', "http.port: must be a whole number, and is 'many'"),
        ("[engine]\nattempts_max = 0", "engine.attempts_max: must be at least 1, and is 0"),
        ("[engine]\nslots = 1", "engine.slots: must be at least 2, and is 1"),
        ("[propagation]\nlate_s = 7200", "late_s must be less than breach_s"),
        (
            '[observability]\nlog_level = "loud"',
            "must be 'debug', 'info', 'warning' or 'error', and is 'loud'",
        ),
        ("moodle = 3", "moodle: must be a table, with a line for each setting"),
        (
            'targets = ["direktory"]',
            "targets: no connector has the name 'direktory'; did you mean directory?",
        ),
        ("targets = []", "targets: must have 1 or more entries"),
        ('[directory]\ncursus_pattern = "["', "is not a regular expression"),
        ('[directory]\ncursus_pattern = "L1"', "has no group"),
        ('[[registry.cohorts]]\nkey = "{stp}"\nname = "x"', "registry.cohorts[0].key: "),
        ('[[lifecycle.entitlements]]\ntarget = "moodle"\npopulations = ["staff", "Staff"]', "Staff: no such"),
        ("[http\nport = 1", "is not TOML"),
    ],
)
def test_a_wrong_value_is_explained_in_plain_words(written: Written, text: str, said: str) -> None:
    told = complaint(written(text))
    assert said in told
    assert "pydantic" not in told
    assert "type=" not in told


def test_every_fault_is_told_at_once(written: Written) -> None:
    told = complaint(written("[http]\nport = -1\n[log]\npartitions = 0\n"))
    assert len(told.splitlines()) == 3


@pytest.mark.parametrize(
    "url", ["http://moodle.univ-exemple.fr", "http://127.evil.fr", "http://localhost.evil.fr"]
)
def test_a_token_never_travels_in_the_clear(written: Written, url: str) -> None:
    assert "https" in complaint(written(f'[moodle]\nbase_url = "{url}"\n'))


def test_loopback_may_be_spoken_to_in_the_clear(written: Written) -> None:
    assert load(written('[moodle]\nbase_url = "http://127.0.0.1:8080"\n')).moodle.base_url


@pytest.mark.parametrize("sslmode", ["disable", "allow", "prefer", "require", "verify-ca"])
def test_a_database_elsewhere_is_verified_or_not_used(written: Written, sslmode: str) -> None:
    settings = load(written(f'[store]\nurl = "postgresql://sesame:s3cret@db.univ.fr/s?sslmode={sslmode}"\n'))
    with pytest.raises(SettingsError, match="does not verify") as refused:
        _ = settings.store_url
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "mode"),
    [
        ("postgresql://sesame@db.univ.fr/sesame", "verify-full"),
        ("postgresql+psycopg://sesame@db.univ.fr/sesame?sslmode=verify-full", "verify-full"),
        ("postgresql://sesame@/sesame?host=db.univ.fr", "verify-full"),
        ("postgresql://sesame@/sesame?host=/run/postgresql", None),
        ("postgresql:///sesame", None),
        ("postgresql://sesame@127.0.0.1/sesame", None),
        ("postgresql://sesame@localhost.evil.fr/sesame", "verify-full"),
    ],
)
def test_only_this_machine_s_database_is_spoken_to_without_tls(
    written: Written, url: str, mode: str | None
) -> None:
    address = make_url(load(written(f'[store]\nurl = "{url}"\n')).store_url.get_secret_value())
    assert address.drivername == "postgresql+psycopg"
    assert address.query.get("sslmode") == mode


def test_a_database_s_password_and_ca_come_from_files(written: Written, tmp_path: Path) -> None:
    secret = secret_file(tmp_path, "p@ss:w/rd\n")
    text = f'url = "postgresql://sesame@db.univ.fr/sesame"\npassword_file = "{secret}"\nca_file = "ca.pem"\n'
    address = make_url(load(written(f"[store]\n{text}")).store_url.get_secret_value())
    assert (address.password, address.query["sslmode"]) == ("p@ss:w/rd", "verify-full")
    assert Path(str(address.query["sslrootcert"])).name == "ca.pem"


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("mysql://sesame:s3cret@db/sesame", "not supported"),
        ("s3cret", "is not a database"),
        ("postgresql+psycopg2://sesame:s3cret@db/sesame", "driver"),
        ("postgresql://sesame@db/sesame?password=s3cret", "among its parameters"),
    ],
)
def test_a_database_that_cannot_be_used_is_refused_without_its_password(
    written: Written, url: str, fault: str
) -> None:
    with pytest.raises(SettingsError, match=fault) as refused:
        _ = load(written(f'[store]\nurl = "{url}"\n')).store_url
    assert "s3cret" not in str(refused.value)


def test_a_database_s_password_is_given_once(written: Written) -> None:
    settings = load(written('[store]\nurl = "postgresql://s:one@127.0.0.1/s"\npassword = "other"\n'))
    with pytest.raises(SettingsError, match="keep one of them"):
        _ = settings.store_url


def test_a_secret_is_read_from_its_file_when_it_is_needed(written: Written, tmp_path: Path) -> None:
    settings = load(written(f'[moodle]\ntoken_file = "{secret_file(tmp_path)}"\n'))
    assert settings.moodle.secret("token").get_secret_value() == "tr3s-secret"
    secret_file(tmp_path, "changed")
    assert settings.moodle.secret("token").get_secret_value() == "changed"


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o606, 0o601, 0o645])
def test_a_secret_file_that_everybody_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    section = MoodleSettings(token_file=secret_file(tmp_path, mode=mode))
    with pytest.raises(SecretUnreadable, match="open to every user") as caught:
        section.secret("token")
    command, _, _ = caught.value.remedy.partition(",")
    subprocess.run(shlex.split(command), check=True)
    assert section.secret("token").get_secret_value() == "tr3s-secret"
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == mode & 0o770, "its group reads on"


def test_a_secret_file_of_a_group_is_accepted(tmp_path: Path) -> None:
    section = MoodleSettings(token_file=secret_file(tmp_path, mode=0o640))
    assert section.secret("token").get_secret_value() == "tr3s-secret"


@pytest.mark.parametrize("content", ["", "\n", "x" * 70_000])
def test_a_secret_file_without_a_secret_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(SecretUnreadable, match="token_file"):
        MoodleSettings(token_file=secret_file(tmp_path, content)).secret("token")


def test_a_missing_secret_says_how_to_give_it(tmp_path: Path) -> None:
    with pytest.raises(SecretUnreadable) as missing:
        MoodleSettings().secret("token")
    assert "SESAME_MOODLE__TOKEN_FILE" in missing.value.remedy
    with pytest.raises(SecretUnreadable, match="cannot be read: no such file"):
        MoodleSettings(token_file=tmp_path / "nowhere").secret("token")


def test_a_secret_given_twice_is_an_error(written: Written) -> None:
    said = complaint(written('[moodle]\ntoken = "a"\ntoken_file = "b"\n'))
    assert "token and token_file are both set" in said


def test_no_secret_is_ever_shown(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESAME_STORE__URL", "postgresql://sesame:m0t-de-passe@db/sesame")
    settings = load(written('[moodle]\ntoken = "j3ton"\n'))
    for shown in (repr(settings), str(settings), settings.model_dump_json()):
        assert "m0t-de-passe" not in shown
        assert "j3ton" not in shown


def test_a_wrong_secret_is_not_quoted_in_the_complaint(written: Written) -> None:
    assert "123456789" not in complaint(written("[moodle]\ntoken = 123456789\n"))


def test_every_secret_may_be_given_by_a_file() -> None:
    sections = [section for section in Settings.sections().values() if issubclass(section, Section)]
    secrets = [(section, name) for section in sections for name in section.secrets()]
    assert secrets
    for section, name in secrets:
        assert f"{name}_file" in section.model_fields


def test_every_setting_says_what_it_is_and_every_number_has_bounds() -> None:
    for name, section in Settings.sections().items():
        secrets = section.secrets() if issubclass(section, Section) else ()
        for key, field in section.model_fields.items():
            assert field.description or key in secrets, f"{name}.{key} has no description"
            if issubclass(section, Section) and field.annotation in (int, float):
                assert len(field.metadata) >= 2, f"{name}.{key} has not both bounds"


def test_each_setting_has_one_row_and_an_operator_reads_few_of_them_first() -> None:
    main, _, apart = settings_page().partition("\n## Advanced\n")
    assert main.count("<br>`SESAME_") <= 110
    assert (main + apart).count("<br>`SESAME_") <= 190
    places = re.findall(r"(?m)^\| `(\w+)`<br>`SESAME_(…|[A-Z_]+?)(?:__|`)", main + apart)
    assert len(set(places)) == len(places)
    shown = {name for name, _ in places}
    for section in documented().sections().values():
        secrets = section.secrets() if issubclass(section, Section) else ()
        assert section.model_fields.keys() - secrets <= shown


def test_what_targets_have_in_common_is_told_once_with_those_that_differ() -> None:
    page = settings_page()
    assert page.count("| `mode`<br>") == page.count("| `batch_size`<br>") == 1
    (row,) = re.findall(r"(?m)^\| `timeout_s`<br>`SESAME_…__TIMEOUT_S` .*$", page)
    assert "`15`<br>directory: `5`<br>mailbox: `10` (≥ 10)<br>moodle: `30`" in row
    assert "Or the variable `SESAME_MAILBOX__API_KEY`." in page
    assert "| `api_key`<br>" not in page


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[support]\nagain_s = 900", "line 2, support.again_s: unknown; support has desks"),
        ("[engine]\nslot = 3", "line 2, engine.slot: unknown; did you mean engine.slots?"),
    ],
)
def test_what_is_no_setting_any_longer_stops_the_start_like_any_unknown_name(
    written: Written, text: str, said: str
) -> None:
    assert said in complaint(written(text))


def test_the_engines_settings_reach_it(written: Written) -> None:
    engine = load(written("[engine]\nslots = 3\nattempts_max = 2\nretry_delay_s_max = 10\n")).engine
    assert (engine.limits(batch_size=5).slots, engine.limits(batch_size=5).batch_size) == (3, 5)
    assert (engine.backoff().attempts_max, engine.backoff().delay_s_min) == (2, 1)


def test_an_address_with_a_password_in_it_is_refused(written: Written) -> None:
    said = complaint(written('[moodle]\nbase_url = "https://zoe:s3cret@moodle.univ-exemple.fr"\n'))
    assert "must not carry" in said
    assert "s3cret" not in said


@pytest.mark.parametrize(("quota", "octets"), [("500M", 500 * 2**20), ("2G", 2 * 2**30), ("", None)])
def test_a_quota_is_counted_in_bytes(written: Written, quota: str, octets: int | None) -> None:
    assert load(written(f'[directory]\nmail_quota = "{quota}"\n')).directory.mail_quota_bytes == octets


def test_a_site_calls_a_target_as_it_likes(written: Written) -> None:
    assert load(written("")).titles == {}, "the pages have words of their own for ours"
    titles = load(written('[mailbox]\ntitle = "Zimbra"\n[moodle]\ntitle_en = "Courses"\n')).titles
    assert titles == {
        "mailbox": {"fr": "Zimbra", "en": "Zimbra"},
        "moodle": {"fr": "Cours en ligne (Moodle)", "en": "Courses"},
    }


def test_a_row_for_a_connector_that_is_no_target_says_so(written: Written) -> None:
    row = '[[lifecycle.entitlements]]\ntarget = "partage"\neverybody = true\n'
    with pytest.raises(SettingsError, match="partage is not in `targets`: add it there"):
        load(written(row))


def test_the_example_can_be_used_as_it_is() -> None:
    settings = load(_EXAMPLE)
    assert settings.registry.mail_domain == "etu.univ-exemple.fr"
    assert settings.directory.people_dn.endswith("dc=univ-exemple,dc=fr")


def test_the_example_shows_every_section() -> None:
    text = _EXAMPLE.read_text(encoding="utf-8")
    assert [name for name in Settings.sections() if f"[{name}]" not in text] == []
