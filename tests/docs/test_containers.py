"""The image and the compose file: they are read by the real tools, hold no secret, and start what exists."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from base64 import b64decode
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, NoReturn

import click
import pytest
import yaml

from sandbox.process import PATIENCE_S
from sesame.cli import main
from sesame.settings import load

ROOT = Path(__file__).parents[2]
DOCKERFILES = [
    ROOT / "Dockerfile",
    *sorted((ROOT / "ops" / "compose").glob("*/Dockerfile")),
    *sorted((ROOT / "sandbox" / "images").glob("*/Dockerfile")),
]
SCRIPTS = [
    ROOT / "scripts" / "containers",
    ROOT / "ops" / "compose" / "prepare",
    *sorted((ROOT / "ops" / "compose").glob("*/start")),
    *sorted((ROOT / "sandbox" / "images").glob("*/start")),
]
PROFILES = (
    "kafka",
    "postgres",
    "directory",
    "mailbox",
    "cas",
    "moodle",
    "pipeline",
    "timetable",
    "monitoring",
)
PINNED = re.compile(r"\$\{[A-Z]+_IMAGE:-[a-z./-]+:(local|v?\d+\.\d+[\w.-]*)\}")


def missing(program: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(f"{program} is not installed")
    pytest.skip(f"{program} is not installed")


def services() -> dict[str, Any]:
    document = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    found: dict[str, Any] = document["services"]
    return found


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what compose reads, with the secrets that `prepare` makes."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copy(ROOT / "docker-compose.yml", folder)
    ignored = shutil.ignore_patterns("secrets")
    shutil.copytree(ROOT / "ops" / "compose", folder / "ops" / "compose", ignore=ignored)
    for _ in range(2):  # the second time changes nothing
        subprocess.run(
            [folder / "ops" / "compose" / "prepare"], check=True, capture_output=True, timeout=PATIENCE_S
        )
    return folder


@pytest.fixture(scope="module")
def composed(prepared: Path) -> dict[str, Any]:
    """The compose file as compose itself understands it, every profile on."""
    if shutil.which("docker-compose"):
        command = ["docker-compose"]
    elif shutil.which("docker"):
        command = ["docker", "compose"]
    else:
        missing("docker-compose")
    command += [word for name in PROFILES for word in ("--profile", name)]
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_IMAGE")}
    done = subprocess.run(
        [*command, "config"], cwd=prepared, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = yaml.safe_load(done.stdout)
    return document


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_hadolint_finds_nothing(dockerfile: Path) -> None:
    program = Path(sys.executable).parent / "hadolint"
    if not program.exists():
        missing("hadolint")
    done = subprocess.run([program, "--no-color", dockerfile], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_shell_reads_every_script_to_its_end(script: Path) -> None:
    """A quote that is never closed shows itself in a container only, otherwise."""
    done = subprocess.run(["bash", "-n", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_compose_understands_every_service_of_every_profile(composed: dict[str, Any]) -> None:
    assert set(composed["services"]) == set(services())
    assert {name for each in services().values() for name in each["profiles"]} == set(PROFILES)


def test_every_image_is_a_parameter_with_a_pinned_default() -> None:
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    images = re.findall(r"^ *image: (.*)$", text, re.MULTILINE)
    others = [name for name, each in services().items() if "PIPELINE_IMAGE" not in each["image"]]
    assert len(images) == 1 + len(others)  # our own once, for all of its processes
    assert [image for image in images if not PINNED.fullmatch(image)] == []
    for dockerfile in DOCKERFILES:
        bases = re.findall(r"^ARG [A-Z]+_IMAGE=(\S+)$", dockerfile.read_text(encoding="utf-8"), re.MULTILINE)
        assert len(bases) == 1
        assert re.fullmatch(r"[a-z./-]+:(local|\d+\.\d+[\w.-]*)", bases[0])


def test_no_process_of_the_pipeline_can_do_more_than_it_needs(composed: dict[str, Any]) -> None:
    ours = {name: each for name, each in composed["services"].items() if "sesame:local" in each["image"]}
    assert set(ours) == {
        "prepare",
        "registry",
        "propagation",
        "directory",
        "mailbox",
        "moodle-consumer",
        "serve",
        "web",
        "console",
        "timetable",
        "operator",
    }
    for name, each in ours.items():
        assert each["read_only"] is True
        assert each["cap_drop"] == ["ALL"]
        assert each["security_opt"] == ["no-new-privileges:true"]
        assert ("ports" in each) == (name in ("web", "console"))
        assert "privileged" not in each
        assert "user" not in each  # the image's own, which is nobody
    needs = {name: {one["source"] for one in each["secrets"]} for name, each in ours.items()}
    assert needs["propagation"] == needs["serve"] == {"database-password"}
    assert needs["moodle-consumer"] == {"database-password", "moodle-token"}
    assert needs["web"] == {"database-password", "smtp-password"}  # open to everybody: no target's secret
    assert needs["timetable"] == {"database-password", "timetable-token"}
    assert needs["operator"] == set().union(*needs.values())  # doctor asks everybody
    assert needs["console"] == needs["operator"]  # who works here does what an operator does


def test_the_processes_wait_for_the_first_preparation(composed: dict[str, Any]) -> None:
    ours = {name: each for name, each in composed["services"].items() if "sesame:local" in each["image"]}
    for name, each in ours.items():
        waits = {} if name == "prepare" else {"prepare": {"condition": "service_completed_successfully"}}
        assert each.get("depends_on", {}) == waits


def test_a_new_container_of_a_consumer_goes_by_the_name_of_the_one_before(composed: dict[str, Any]) -> None:
    """By its number, the one that `down` removed would be missed for a day, as one that has died."""
    consumers = {
        name: each for name, each in composed["services"].items() if "consume" in (each.get("command") or [])
    }
    assert len(consumers) == len({each["command"][1] for each in consumers.values()})
    assert {name: each.get("hostname") for name, each in consumers.items()} == {
        name: name for name in consumers
    }


FAKE = """#!/bin/bash
echo "$*" >>"$SAID"
[ "$1" != "$FAILS" ] && exit 0
[ "$(grep -c "^$1" "$SAID")" -gt "$TIMES" ] && exit 0
exit "$CODE"
"""


@pytest.mark.parametrize(
    ("fails", "code", "times", "ended", "said"),
    [
        ("none", 0, 0, 0, ["migrate", "vault init", "topics apply --yes"]),
        ("migrate", 4, 2, 0, ["migrate"] * 3 + ["vault init", "topics apply --yes"]),
        ("topics", 4, 3, 0, ["migrate", "vault init"] + ["topics apply --yes"] * 4),
        ("migrate", 4, 9999, 1, ["migrate"] * 200),
        ("migrate", 2, 1, 1, ["migrate"]),
    ],
)
def test_the_preparation_waits_for_what_is_away_and_ends_by_what_is_wrong(
    composed: dict[str, Any], tmp_path: Path, fails: str, code: int, times: int, ended: int, said: list[str]
) -> None:
    sesame, sleep = tmp_path / "sesame", tmp_path / "sleep"
    sesame.write_text(FAKE, encoding="ascii")
    sleep.write_text("#!/bin/sh\n", encoding="ascii")
    for program in (sesame, sleep):
        program.chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "SAID": str(tmp_path / "said"),
        "FAILS": fails,
        "CODE": str(code),
        "TIMES": str(times),
    }
    words = [word.replace("$$", "$") for word in composed["services"]["prepare"]["entrypoint"]]
    done = subprocess.run(words, env=environment, check=False, timeout=PATIENCE_S)
    assert done.returncode == ended
    assert (tmp_path / "said").read_text(encoding="utf-8").splitlines() == said


def test_every_service_that_stays_says_whether_it_is_healthy(composed: dict[str, Any]) -> None:
    """Those of our own image by the image's question, unless they have another port."""
    silent = {
        name for name, each in composed["services"].items() if "test" not in each.get("healthcheck", {})
    }
    assert "HEALTHCHECK" in (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert {composed["services"][name]["image"] for name in silent} == {"sesame:local"}
    assert {"web", "console"} & silent == set()


def test_prometheus_asks_every_process_at_the_port_where_it_answers(prepared: Path) -> None:
    document = yaml.safe_load((ROOT / "ops" / "compose" / "prometheus.yml").read_text(encoding="utf-8"))
    [job] = document["scrape_configs"]
    asked = {name: each["port"] for each in job["dns_sd_configs"] for name in each["names"]}
    settings = load(prepared / "ops" / "compose" / "sesame.toml")
    ours = {name for name, each in services().items() if "PIPELINE_IMAGE" in each["image"]} - {
        "prepare",
        "operator",
        "console",
    }
    assert asked == dict.fromkeys(ours - {"web"}, settings.http.port) | {"web": settings.portal.metrics_port}


def test_the_pages_believe_the_machine_before_them_and_no_container(composed: dict[str, Any]) -> None:
    [network] = composed["networks"]["outside"]["ipam"]["config"]
    for name, section in (("web", "PORTAL"), ("console", "CONSOLE")):
        trusted = composed["services"][name]["environment"][f"SESAME_{section}__TRUSTED_PROXIES"]
        assert json.loads(trusted) == [network["gateway"]]
    assert ip_address(network["gateway"]) in ip_network(network["subnet"])


def test_the_cas_server_has_one_name_for_browsers_and_for_the_pages(
    prepared: Path, composed: dict[str, Any]
) -> None:
    settings = load(prepared / "ops" / "compose" / "sesame.toml")
    folder = prepared / "ops" / "compose"
    properties = dict(
        line.split("=", 1)
        for line in (folder / "cas" / "cas.properties").read_text().splitlines()
        if "=" in line
    )
    assert settings.cas.server_url == properties["cas.server.name"] + "/cas/"
    name = properties["cas.server.name"].removeprefix("https://")
    assert composed["services"]["cas"]["networks"]["site"]["aliases"] == [name]
    assert [port.rpartition(":")[2] for port in services()["cas"]["ports"]] == [properties["server.port"]]
    [registered] = (folder / "cas" / "services").glob("*.json")
    assert re.match(
        json.loads(registered.read_text(encoding="utf-8"))["serviceId"], settings.portal.public_url + "/cas"
    )
    said = subprocess.run(
        ["openssl", "x509", "-in", folder / "secrets" / "cas.pem", "-noout", "-ext", "subjectAltName"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"DNS:{name}" in said.stdout.replace(",", "").split()


def test_every_process_starts_a_command_that_there_is(composed: dict[str, Any]) -> None:
    for name, each in composed["services"].items():
        words = each.get("command") or []
        if "sesame:local" not in each["image"] or not words:
            continue
        above = click.Context(main, **main.context_settings)
        command = main.get_command(above, words[0])
        assert command is not None, name
        command.make_parser(click.Context(command, parent=above)).parse_args(list(words[1:]))


def test_every_published_port_is_on_loopback(composed: dict[str, Any]) -> None:
    ports = [port for each in composed["services"].values() for port in each.get("ports", [])]
    hosts = [port["host_ip"] if isinstance(port, dict) else port.rsplit(":", 2)[0] for port in ports]
    assert set(hosts) == {"127.0.0.1"}


def test_no_secret_is_written_down_and_none_is_open_to_everybody(prepared: Path) -> None:
    secrets = prepared / "ops" / "compose" / "secrets"
    values = {file.name: file.read_bytes().strip() for file in secrets.iterdir()}
    assert len({value for name, value in values.items() if name.endswith("password")}) == sum(
        name.endswith("password") for name in values
    )
    compose = (ROOT / "docker-compose.yml").read_bytes()
    assert [name for name, value in values.items() if value in compose] == []
    public = {"ca.pem"}
    assert [
        f.name for f in secrets.iterdir() if f.stat().st_mode & stat.S_IRWXO and f.name not in public
    ] == []
    assert stat.S_IMODE((prepared / ".env").stat().st_mode) == 0o600
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert {"/.env", "/ops/compose/secrets/"} <= set(ignored)


def test_what_compose_wants_is_what_prepare_makes(prepared: Path, composed: dict[str, Any]) -> None:
    for each in composed["secrets"].values():
        assert (prepared / Path(each["file"]).relative_to(prepared)).stat().st_size > 0
    wanted = set(re.findall(r"\$\{([A-Z_]+):\?", (ROOT / "docker-compose.yml").read_text(encoding="utf-8")))
    written = {line.partition("=")[0] for line in (prepared / ".env").read_text().splitlines() if "=" in line}
    assert wanted <= written


def test_no_cluster_s_id_begins_with_a_hyphen(prepared: Path, tmp_path: Path) -> None:
    """Kafka would take it for an option. Bytes like these come once in 64 times."""
    site, programs = tmp_path / "site", tmp_path / "programs"
    shutil.copytree(prepared, site)
    (site / ".env").unlink()
    programs.mkdir()
    stand_in = '[ "$*" != "rand 16" ] || { printf "\\373%.0s" {1..16}; exit; }'
    openssl = programs / "openssl"
    openssl.write_text(f'#!/bin/bash\n{stand_in}\nexec {shutil.which("openssl")} "$@"\n', encoding="utf-8")
    openssl.chmod(0o755)
    path = f"{programs}:{os.environ['PATH']}"
    subprocess.run([site / "ops" / "compose" / "prepare"], check=True, env={**os.environ, "PATH": path})
    found = re.search(r"^KAFKA_CLUSTER_ID=(.*)$", (site / ".env").read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None
    assert re.fullmatch(r"[A-Za-z0-9_]{22}", found[1]), found[1]
    assert b64decode(f"{found[1]}==", altchars="-_", validate=True) != b""


@pytest.mark.usefixtures("no_variables")
def test_the_settings_of_the_containers_can_be_used(prepared: Path) -> None:
    settings = load(prepared / "ops" / "compose" / "sesame.toml")
    assert settings.targets == ("directory", "mailbox", "moodle")


def test_the_runtime_lock_has_the_very_versions_that_are_tested() -> None:
    def pins(name: str) -> set[str]:
        return set(re.findall(r"^([a-z0-9-]+==\S+)", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE))

    tested = pins("requirements.lock")
    for name in ("requirements.runtime.lock", "scripts/build.lock"):
        assert pins(name) <= tested
        assert "--hash=sha256:" in (ROOT / name).read_text(encoding="utf-8")
    assert "pytest" not in {pin.partition("==")[0] for pin in pins("requirements.runtime.lock")}


def test_the_cas_service_is_json() -> None:
    for file in (ROOT / "ops" / "compose" / "cas" / "services").glob("*.json"):
        assert json.loads(file.read_text(encoding="utf-8"))["id"] >= 1
