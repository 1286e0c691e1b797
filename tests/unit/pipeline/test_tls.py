"""One context for all who trust the system's authorities, and what it never loses."""

from __future__ import annotations

import os
import shutil
import ssl
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Barrier, BrokenBarrierError

import pytest

from pipeline.tls import verified
from sandbox.tls import ThrowawayCA


def authority(folder: Path) -> Path:
    folder.mkdir()
    return ThrowawayCA(folder).ca_file


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of the system's authorities: it has one."""
    file = tmp_path / "system.pem"
    shutil.copyfile(authority(tmp_path / "first"), file)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))
    return file


def trusted(context: ssl.SSLContext) -> list[str]:
    return [str(each["serialNumber"]) for each in context.get_ca_certs()]


@pytest.mark.usefixtures("system")
def test_clients_that_trust_the_system_share_what_was_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str | None] = []
    new, meeting = ssl.create_default_context, Barrier(2)

    def counted(*, cafile: str | None) -> ssl.SSLContext:
        made.append(cafile)
        with suppress(BrokenBarrierError):
            meeting.wait(0.2)  # for whoever reads them at once
        return new(cafile=cafile)

    monkeypatch.setattr(ssl, "create_default_context", counted)
    with ThreadPoolExecutor(4) as pool:
        contexts = list(pool.map(lambda _n: verified(None), range(4)))
    assert len({id(each) for each in contexts}) == 1
    assert made == [None]


@pytest.mark.usefixtures("system")
def test_what_one_protocol_writes_into_its_context_no_other_one_says() -> None:
    assert verified(None, "http") is verified(None, "http")
    assert verified(None, "http") is not verified(None)


def test_authorities_that_were_changed_are_trusted_by_the_next_client(system: Path, tmp_path: Path) -> None:
    before = verified(None)
    shutil.copyfile(authority(tmp_path / "second"), system)
    os.utime(system, ns=(0, system.stat().st_mtime_ns + 1))
    after = verified(None)
    assert len(trusted(before)) == len(trusted(after)) == 1
    assert trusted(before) != trusted(after)


@pytest.mark.usefixtures("system")
@pytest.mark.parametrize("protocol", ["", "http"])
def test_an_authority_that_a_setting_names_is_the_only_one(tmp_path: Path, protocol: str) -> None:
    own = verified(authority(tmp_path / "own"), protocol)
    assert len(trusted(own)) == 1
    assert trusted(own) != trusted(verified(None, protocol))


def test_every_context_verifies_the_certificate_and_the_name(system: Path) -> None:
    for context in (verified(None), verified(None, "http"), verified(system)):
        assert context.check_hostname
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
