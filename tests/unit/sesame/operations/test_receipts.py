"""A receipt is as it was signed, to the byte, or it is refused."""

from __future__ import annotations

import json

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.registry.erasure.privacy_key import PrivacyKey
from pipeline.vault import new_key
from schemas.generate import ROOT
from schemas.receipt import SignedReceipt
from sesame.operations.privacy.receipts import ReceiptRefused, sign, site_key, verify

LEA = "22600007"
KEY = PrivacyKey("c2VzYW1lIGNvcnB1cyBvZiB0aGUgY29tbWFuZHMhISE=")
DOCUMENT = (ROOT / "tests" / "cli" / "files" / "receipt.json").read_bytes()


def refused(document: bytes) -> bool:
    try:
        verify(document, fingerprint=None, privacy=None, student=None)
    except ReceiptRefused:
        return True
    return False


def test_a_receipt_is_verified_with_nothing_but_the_file() -> None:
    assert not refused(DOCUMENT)


def test_whichever_byte_is_changed_is_noticed() -> None:
    for at, byte in enumerate(DOCUMENT):
        for other in {byte ^ 1, byte ^ 0x20, byte ^ 0x80, 0x20, 0x0A} - {byte}:
            changed = DOCUMENT[:at] + bytes([other]) + DOCUMENT[at + 1 :]
            assert refused(changed), (at, changed[max(0, at - 20) : at + 20])


@given(st.data())
def test_whatever_is_taken_out_put_in_or_said_twice_is_noticed(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(DOCUMENT)))
    end = data.draw(st.integers(at, len(DOCUMENT)))
    put_in = data.draw(st.binary(max_size=8) | st.sampled_from([b" ", b"\n", DOCUMENT[at:end] * 2]))
    changed = DOCUMENT[:at] + put_in + DOCUMENT[end:]
    assert changed == DOCUMENT or refused(changed)


def test_another_key_signs_another_receipt() -> None:
    other = PrivacyKey(new_key())
    forged = sign(SignedReceipt.model_validate_json(DOCUMENT).receipt, other).encode()
    known = site_key(KEY)
    assert not refused(forged), "alone it is whole"
    for fingerprint in (known.fingerprint, known.public_key, known.fingerprint.removeprefix("sha256:")):
        assert verify(DOCUMENT, fingerprint=fingerprint, privacy=None, student=None).key_known
        with pytest.raises(ReceiptRefused, match="another key"):
            verify(forged, fingerprint=fingerprint, privacy=None, student=None)


def test_the_key_tells_whose_a_receipt_is() -> None:
    assert verify(DOCUMENT, fingerprint=None, privacy=KEY, student=LEA).student
    with pytest.raises(ReceiptRefused, match="not this student"):
        verify(DOCUMENT, fingerprint=None, privacy=KEY, student="22600008")


def test_a_receipt_fits_the_published_schema() -> None:
    schema = json.loads((ROOT / "schemas" / "json" / "erasure-receipt.schema.json").read_bytes())
    validator = jsonschema_rs.Draft202012Validator(schema, validate_formats=True)
    assert validator.is_valid(json.loads(DOCUMENT))


def test_a_pseudonym_fits_a_student_number_s_column_and_says_nothing() -> None:
    made = {PrivacyKey(new_key()).pseudonym(LEA) for _ in range(20)}
    assert len(made) == 20
    assert {len(each) for each in made} == {32}
    assert KEY.pseudonym(LEA) == KEY.pseudonym(LEA) != KEY.pseudonym(LEA.replace("7", "8"))
