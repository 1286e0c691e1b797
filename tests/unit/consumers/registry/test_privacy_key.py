"""The site's privacy key: what is derived from it stays the same for as long as there are erased persons."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from consumers.registry.erasure.privacy_key import PrivacyKey, PrivacyKeyError

LINE = "c2VzYW1lIGNvcnB1cyBvZiB0aGUgY29tbWFuZHMhISE="
LEA, PAUL = "22600001", "22600002"


def derived(purpose: str) -> bytes:
    info = f"sesame/privacy/{purpose}".encode()
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(LINE.encode())


def digest(purpose: str, value: str) -> str:
    made = hmac.new(derived(purpose), value.encode(), hashlib.sha256).digest()
    return base64.b32encode(made).decode().rstrip("=").lower()


@pytest.mark.parametrize("number", [LEA, PAUL])
def test_pseudonyms_and_digests_are_those_of_every_release(number: str) -> None:
    key = PrivacyKey(LINE)
    assert key.pseudonym(number) == f"erased-{digest('pseudonyms', number)}"[:32]
    assert key.hashed(number) == f"erased:{digest('digests', number)}"


def test_an_erasure_that_another_release_began_is_ended() -> None:
    sealing = Fernet(base64.urlsafe_b64encode(derived("sealing")))
    assert PrivacyKey(LINE).unseal(sealing.encrypt(json.dumps([LEA, PAUL]).encode())) == [LEA, PAUL]
    assert json.loads(sealing.decrypt(PrivacyKey(LINE).seal([PAUL, LEA]))) == [PAUL, LEA]
    other = Fernet(Fernet.generate_key())
    with pytest.raises(PrivacyKeyError, match="another privacy key"):
        PrivacyKey(LINE).unseal(other.encrypt(b"[]"))


def test_receipts_are_signed_by_the_derived_key() -> None:
    signature = PrivacyKey(LINE).signing.sign(b"receipt")
    Ed25519PrivateKey.from_private_bytes(derived("receipts")).public_key().verify(signature, b"receipt")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o610, 0o601])
def test_a_key_that_others_can_read_is_refused_until_it_is_closed(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "privacy.key"
    path.write_text(LINE + "\n", encoding="ascii")
    path.chmod(mode)
    with pytest.raises(PrivacyKeyError, match="open to others") as refused:
        PrivacyKey.read(path)
    assert refused.value.remedy == f"chmod 600 {path}"
    path.chmod(0o600)
    assert PrivacyKey.read(path).pseudonym(LEA) == PrivacyKey(LINE).pseudonym(LEA)


@pytest.mark.parametrize("line", ["", "short", LINE[:-4], "é" * 44])
def test_what_is_no_key_is_refused(line: str) -> None:
    with pytest.raises(PrivacyKeyError, match="32 bytes"):
        PrivacyKey(line)


def test_a_key_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PrivacyKeyError, match="nowhere"):
        PrivacyKey.read(tmp_path / "nowhere")
