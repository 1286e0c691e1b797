"""A target's secret changes while Sésame runs: it goes on by itself, and the doctor says who saw what."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pipeline.engine.limits import EngineSettings, Limits
from sesame.cli import main
from sesame.testing.servers.sections import dovecot_section, slapd_section, toml_of
from sesame.testing.servers.waiting import until
from tests.integration.targets.site_kit import Site, running

ZOE = "22600001"
WRONG = "pas-le-bon-secret"


@dataclass
class Refused:
    """A site whose target refuses the secret in its file, and the right one."""

    site: Site
    target: str
    file: Path
    right: str

    def state(self) -> str:
        return self.site.consumers().get(self.target, ("", ""))[0]

    def reason(self) -> str:
        return self.site.consumers()[self.target][1]

    def put(self, text: str) -> None:
        """Write the file as an operator's editor leaves it: a moment ago."""
        self.file.write_text(text, encoding="utf-8")
        a_moment_ago = time.time() - 2
        os.utime(self.file, (a_moment_ago, a_moment_ago))

    def doctor(self) -> tuple[int, dict[str, str]]:
        """The doctor's exit code, and what it says of the target."""
        config = ["--config", str(self.site.settings.data_dir / "sesame.toml")]
        result = CliRunner().invoke(main, [*config, "doctor", "--json", f"--only={self.target}"])
        assert WRONG not in result.output
        assert self.right not in result.output
        [found] = json.loads(result.stdout)
        return result.exit_code, found


Refuses = Callable[[float], AbstractContextManager[Refused]]
"""Makes the site, whose process looks again after so many seconds at a target that refuses it."""


@contextmanager
def looking_again(after_s: float) -> Iterator[None]:
    limits = EngineSettings.limits

    def sooner(self: EngineSettings, *, batch_size: int) -> Limits:
        found = limits(self, batch_size=batch_size)
        return found.model_copy(update={"misconfigured_delay_s": after_s})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EngineSettings, "limits", sooner)
        yield


def refusing(folder: Path, target: str, settings: str, right: str, *in_memory: str) -> Refuses:
    @contextmanager
    def make(look_again_s: float) -> Iterator[Refused]:
        file = folder / "secret"
        file.touch(mode=0o600)
        targets = json.dumps([*in_memory, target])
        every = f"targets = {targets}\n{settings}"
        with (
            looking_again(look_again_s),
            closing(Site(folder / "site", every.replace("FILE", str(file)), in_memory=in_memory)) as site,
        ):
            one = Refused(site, target, file, right)
            one.put(WRONG)
            yield one

    return make


@pytest.fixture(params=["directory", "mailbox", "moodle"])
def refuses(request: pytest.FixtureRequest, tmp_path: Path) -> Refuses:
    fixture = {"directory": "slapd", "mailbox": "dovecot", "moodle": "moodle"}[request.param]
    server: Any = request.getfixturevalue(fixture)
    if request.param == "moodle":
        section = {"base_url": server.url, "token_file": "FILE"}
        return refusing(tmp_path, "moodle", toml_of(moodle=section), server.token)
    if request.param == "directory":
        section = slapd_section(server) | {"bind_password_file": "FILE"}
        right = server.provisioner_password_file.read_text(encoding="utf-8")
        return refusing(tmp_path, "directory", toml_of(directory=section), right)
    section = dovecot_section(server, request.getfixturevalue("slapd")) | {"api_key_file": "FILE"}
    right = server.api_key_file.read_text(encoding="utf-8")
    return refusing(tmp_path, "mailbox", toml_of(mailbox=section), right, "directory")


def test_a_consumer_that_was_refused_reads_the_changed_file_and_goes_on_by_itself(refuses: Refuses) -> None:
    with refuses(0.2) as one, running(one.site):
        one.site.enrol_and_activate(ZOE, "Lefèvre", "Zoé")
        until(lambda: one.state() == "misconfigured", one.site.consumers)
        assert "_file that was read at" in one.reason()
        assert WRONG not in one.reason()
        one.put("")  # half-written: not taken, and said
        until(lambda: "kept" in one.reason(), one.site.consumers)
        one.put(one.right)
        until(lambda: one.state() == "running", one.site.consumers)


def test_the_doctor_and_a_process_that_was_refused_do_not_contradict_each_other(refuses: Refuses) -> None:
    with refuses(600) as one, running(one.site):
        one.site.enrol_and_activate(ZOE, "Lefèvre", "Zoé")
        until(lambda: one.state() == "misconfigured", one.site.consumers)
        code, found = one.doctor()
        assert (code, found["state"]) == (1, "fail")
        assert "misconfigured since" in found["text"]
        one.put(one.right)
        code, found = one.doctor()
        assert (code, found["state"]) == (0, "warn")
        assert "the whole path works (tried just now)" in found["text"]
        assert one.reason() in found["text"]
        assert str(one.file) in found["remedy"]
        assert "by itself" in found["remedy"]
