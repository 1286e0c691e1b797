"""A release: the same bytes twice, its how-to's commands, a plain installation."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

from sandbox.process import PATIENCE_S, MissingServer
from sesame.testing.servers import require_service

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "release.md"
BIN = Path(sys.executable).parent
CONTACT = "security@sesame-identites.fr"
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
DIST = f"dist/{VERSION}"
WANTED = {
    "postgres": "psycopg",
    "kafka": "kafka-python",
    "tracing": "opentelemetry-exporter-otlp-proto-http",
    "scim": "scim2-models",
    "calendar": "icalendar",
    "parquet": "duckdb",
}
"""The first package of each extra."""

WHEEL = f"sesame-{VERSION}-py3-none-any.whl"


def run(
    *command: str | Path, folder: Path, fails: bool = False, more: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "VENV": str(BIN.parent),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        **(more or {}),
    }
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done


def clone(folder: Path) -> Path:
    """A clone of what is committed, with the tree's changes on top."""
    run("git", "clone", "--quiet", ROOT, folder, folder=ROOT)
    changed = run("git", "diff", "--binary", "HEAD", folder=ROOT).stdout
    if changed:
        patch = folder.with_suffix(".patch")
        patch.write_text(changed, encoding="utf-8")
        run("git", "apply", "--index", patch, folder=folder)
        commit(folder)
    return folder


def commit(folder: Path) -> None:
    who = ("-c", "user.name=a", "-c", "user.email=a@univ-exemple.fr")
    run(
        "git",
        *who,
        "commit",
        "--quiet",
        "--all",
        "--allow-empty",
        "--message",
        "release: give it its day",
        folder=folder,
    )


def told(folder: Path, contact: str, heading: str, key: str = "RW") -> None:
    """Commit this contact, this heading of the newest version, and this public key, whatever stands there."""
    for name, pattern, new in (
        ("SECURITY.md", r"^Write to \*\*\S*\*\*", f"Write to **{contact}**"),
        ("SECURITY.md", r"\*\*RW\S*\*\*", f"**{key}**"),
        ("CHANGELOG.md", r"^## \[.*", heading),
    ):
        before = (folder / name).read_text(encoding="utf-8")
        text, n = re.subn(pattern, new, before, count=1, flags=re.MULTILINE)
        assert n == 1
        (folder / name).write_text(text, encoding="utf-8")
    commit(folder)


def public_key(folder: Path) -> str:
    return (folder / "minisign.pub").read_text(encoding="ascii").splitlines()[1]


def find_minisign() -> None:
    if shutil.which("minisign") is None:
        raise MissingServer("minisign", "minisign")


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a clone, its release in `dist`, and the key's halves."""
    folder = tmp_path_factory.mktemp("release")
    require_service(find_minisign)
    run("minisign", "-G", "-W", "-s", "minisign.key", "-p", "minisign.pub", folder=folder)
    told(clone(folder / "one"), CONTACT, f"## [{VERSION}] - 2026-12-01", public_key(folder))
    run("scripts/release", folder / "minisign.key", folder=folder / "one")
    return folder


def digests(folder: Path) -> dict[str, str]:
    files = [each for each in folder.iterdir() if each.suffix != ".minisig"]
    return {each.name: hashlib.sha256(each.read_bytes()).hexdigest() for each in files}


def test_another_folder_gives_the_same_bytes(released: Path) -> None:
    run("git", "clone", "--quiet", released / "one", "a folder, another", folder=released)
    other = released / "a folder, another"
    other.chmod(0o700)
    elsewhere = {"TZ": "Pacific/Auckland", "LC_ALL": "C", "PYTHONHASHSEED": "7"}
    run(
        "bash",
        "-c",
        'umask 077; scripts/release "$0"',
        released / "minisign.key",
        folder=other,
        more=elsewhere,
    )
    one = digests(released / "one" / DIST)
    assert one == digests(other / DIST)
    kinds = (".cdx.json", "-image.tar.gz", "-py3-none-any.whl", f"{VERSION}.tar.gz", "SHA256SUMS")
    assert len(one) == len(kinds)
    assert all(any(name.endswith(kind) for name in one) for kind in kinds)


def test_the_how_tos_commands_verify_it_and_see_a_changed_byte(released: Path) -> None:
    verify = re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[0]
    folder = released / "one" / DIST
    key = {
        "KEY": re.findall(r"\*\*(RW\S+)\*\*", (folder / "../../SECURITY.md").read_text(encoding="utf-8"))[0]
    }
    run("bash", "-ec", verify, folder=folder, more=key)
    for name in ("SHA256SUMS", WHEEL):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[:-2] + bytes([whole[-2] ^ 1]) + whole[-1:])
        run("bash", "-ec", verify, folder=folder, fails=True, more=key)
        (folder / name).write_bytes(whole)


@pytest.mark.parametrize(
    "contact",
    [
        "security@sesame.example",
        "security@example.org",
        "security@EXAMPLE.org",
        "security@univ-exemple.fr",
        "",
        "TODO",
        "a@b.invalid",
    ],
)
def test_a_contact_that_is_none_is_refused(released: Path, tmp_path: Path, contact: str) -> None:
    folder = clone(tmp_path / "clone")
    told(folder, contact, f"## [{VERSION}] - 2026-12-01", public_key(released))
    said = run("scripts/release", released / "minisign.key", folder=folder, fails=True).stderr
    assert re.findall(r"^release: (.*)", said, re.MULTILINE) == [
        "SECURITY.md:7: the contact is a placeholder"
    ]
    assert not (folder / "dist").exists()


def test_a_key_that_nobody_can_verify_by_is_refused(released: Path, tmp_path: Path) -> None:
    folder = clone(tmp_path / "clone")
    told(folder, CONTACT, f"## [{VERSION}] - 2026-12-01", "RWAnotherKey")
    said = run("scripts/release", released / "minisign.key", folder=folder, fails=True).stderr
    reasons = re.findall(r"^release: (.*)", said, re.MULTILINE)
    assert reasons == [f"SECURITY.md has no public key of {released / 'minisign.key'}"]


def test_what_is_not_ready_is_refused_with_every_reason(released: Path) -> None:
    folder = clone(released / "early")
    told(folder, "security@sesame.example", f"## [Unreleased]: {VERSION}")
    (folder / "README.md").write_text("changed\n", encoding="utf-8")
    said = run("scripts/release", folder=folder, fails=True).stderr
    assert "the tree has changes" in said
    assert re.search(r"SECURITY\.md:\d+: the contact is a placeholder", said)
    assert f"CHANGELOG.md has no heading '## [{VERSION}] - 20" in said
    assert "make release KEY=minisign.key" in said
    assert not (folder / "dist").exists()


def test_an_sbom_that_is_not_the_lock_is_seen(released: Path) -> None:
    folder = released / "one"
    lock, sbom = folder / "requirements.runtime.lock", folder / DIST / f"sesame-{VERSION}.cdx.json"
    compare = (BIN / "python", "scripts/compare_sbom.py", sbom, lock)
    run(*compare, folder=folder)
    whole = lock.read_text(encoding="utf-8")
    lock.write_text(whole.replace("ldap3==2.9.1", "ldap3==2.9.0"), encoding="utf-8")
    said = run(*compare, folder=folder, fails=True).stderr
    lock.write_text(whole, encoding="utf-8")
    assert said.splitlines() == ["ldap3 2.9.0 is in the lock only", "ldap3 2.9.1 is in the SBOM only"]


def test_a_plain_installation_works_and_names_the_extra_that_something_needs(released: Path) -> None:
    wheel = released / "one" / DIST / WHEEL
    plain = released / "plain"
    run(sys.executable, "-m", "venv", plain, folder=released)
    install = (BIN / "uv", "pip", "install", "--quiet", "--python", plain / "bin/python")
    run(*install, "--constraint", ROOT / "requirements.runtime.lock", wheel, folder=released)
    size = run("du", "--summarize", "-k", "--exclude", "__pycache__", plain, folder=released)
    assert int(size.stdout.split()[0]) < 100_000

    site = released / "site"
    site.mkdir()

    def sesame(*words: str, fails: bool = False, **settings: str) -> str:
        given = {"SESAME_DATA_DIR": str(released / "data"), **settings}
        done = run(plain / "bin/sesame", *words, folder=site, fails=fails, more=given)
        return done.stdout + done.stderr

    sesame("init")
    for secret in set(site.iterdir()) - {site / "sesame.toml"}:
        secret.write_text("filled in\n", encoding="utf-8")
    sesame("init")
    assert "ok    store" in sesame("doctor", "--only", "store")
    assert "directory" in sesame("connector", "list")
    collector = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    clear = {"SESAME_LOG__SECURITY": "PLAINTEXT"}
    kafka = {"SESAME_LOG__KIND": "kafka", "SESAME_LOG__SERVERS": '["127.0.0.1:9"]', **clear}
    for extra, said in {
        "postgres": sesame("migrate", fails=True, SESAME_STORE__URL="postgresql://a@127.0.0.1/x"),
        "kafka": sesame("doctor", "--only", "log", fails=True, **kafka),
        "tracing": sesame("overview", fails=True, **collector),
        "scim": sesame("settings", "check", fails=True, SESAME_TARGETS='["directory", "scim"]'),
        "calendar": sesame("doctor", "--only", "timetable", fails=True, SESAME_TARGETS='["timetable"]'),
        "parquet": sesame("export", "--day", "2026-11-01", "--format", "parquet", fails=True),
    }.items():
        offered = re.findall(r"pip install '([\w-]+)", said)
        assert offered == [WANTED[extra]], "the package index has another `sesame`"
