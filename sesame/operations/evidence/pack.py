"""The pack: a framework's measures on one site, signed, and verified offline."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from consumers.registry.erasure.privacy_key import PrivacyKey
from pipeline.errors import SesameError
from schemas.account import Model
from schemas.language import Language, gettext
from schemas.receipt import Signature, signed_bytes
from sesame.acts.acts import OPERATORS, Actor, ActPath, ActRequest, Report, act, note, utc
from sesame.acts.ports import Configured
from sesame.operations.evidence.look import Deviation, Look
from sesame.operations.evidence.measures import MEASURES
from sesame.operations.privacy import receipts
from sesame.operations.privacy.receipts import ReceiptRefused

_FRAMEWORKS: Final = Path(__file__).with_name("frameworks.toml")
_RULES: Final = "rules"
_WORDS: Final = "words"


class UnknownFramework(SesameError):
    """There is no framework of this name."""

    exit_code = 2


class EvidenceRefused(SesameError):
    """This is no evidence as Sésame signed it. A byte was changed, or another key signed it."""

    exit_code = 6


class EvidenceRequest(ActRequest):
    """The framework, e.g. `recyf`."""

    framework: str


class Measured(Report):
    """One measure.

    Attributes:
        measure: the framework's article, a blank, and its name in Sésame.
        query: what was read, as the database got it; lines for several queries, settings and files.
        figure: figures by name; times end in `_s` (seconds).
        exceptions: by student number, or about the site.
        reports: of the rehearsed restores: when, from what, how long, what was found.
        at: when it was read.
    """

    measure: str
    query: str
    figure: Mapping[str, int | float]
    exceptions: Sequence[Deviation]
    reports: Sequence[Mapping[str, str | int | float]]
    at: datetime

    @property
    def name(self) -> str:
        """Its name in Sésame."""
        return self.measure.rpartition(" ")[2]


class Evidence(Model):
    """What is signed. `version`: of this form."""

    version: str = "sesame-evidence-1"
    framework: str
    institution: str
    asked_by: str
    at: datetime
    measures: Sequence[Measured]


class SignedEvidence(Model):
    """Evidence, and a signature over it as JSON with sorted names, without blanks."""

    evidence: Evidence
    signature: Signature

    @property
    def name(self) -> str:
        """Its files' name, without a suffix."""
        return f"{self.evidence.framework}-{self.evidence.at:%Y%m%dT%H%M%SZ}"

    def text(self) -> str:
        """The document, in the one form in which it is valid."""
        return json.dumps(self.model_dump(mode="json"), ensure_ascii=False, sort_keys=True, indent=1) + "\n"


class EvidenceVerified(Report):
    """Genuine evidence. `key_known`: its key is the expected one; None: none was given."""

    framework: str
    at: datetime
    asked_by: str
    exceptions: int
    fingerprint: str
    key_known: bool | None


@cache
def frameworks() -> Mapping[str, Mapping[str, str]]:
    """The measures of each framework, with their articles."""
    return {name: said["measures"] for name, said in _texts().items() if "measures" in said}


def title(framework: str, language: Language) -> str:
    """A framework's name."""
    return str(_texts()[framework][language])


def rule(measure: str, language: Language) -> str:
    """What a measure asks, in a sentence."""
    return str(_texts()[_RULES][measure][language])


def words(name: str, language: Language) -> str:
    """The words for a figure's name, or for what an exception is seen by; without words, the name itself."""
    known: Mapping[str, str] = _texts()[_WORDS][language]
    for share in ("count", "p50_s", "p95_s", "p99_s"):
        if name not in known and name.endswith(f"_{share}"):
            return f"{words(name.removesuffix(f'_{share}'), language)}, {known[share]}"
    return known.get(name, name)


def seen_by(data: Mapping[str, str | int | float], language: Language) -> str:
    """Figures, or what an exception is seen by, in words."""
    found = []
    for name, value in data.items():
        both = words(f"{name}={value}", language)
        found.append(both if both != f"{name}={value}" else f"{words(name, language)} {value}")
    return ", ".join(found)


@act("evidence", OPERATORS, path=ActPath("make_evidence", "POST", "/evidence"))
def measure(site: Configured, actor: Actor, request: EvidenceRequest) -> list[Measured]:
    """Measure a framework on this site. The audit has who asked, and the number of exceptions.

    Raises:
        UnknownFramework: with the names that there are.
    """
    articles = frameworks().get(request.framework)
    if articles is None:
        names = ", ".join(frameworks())
        text = gettext("{name!r} is no framework; there are {names}", name=request.framework, names=names)
        raise UnknownFramework(text)
    with site.database.read() as connection:
        look = Look(site, connection)
        found = [_measured(look, name, article) for name, article in articles.items()]
    exceptions = sum(len(each.exceptions) for each in found)
    note(site.database, actor, "evidence", framework=request.framework, exceptions=exceptions)
    return found


def signed(
    measured: Sequence[Measured], framework: str, institution: str, actor: Actor, privacy: PrivacyKey
) -> SignedEvidence:
    """Sign what was measured."""
    evidence = Evidence(
        framework=framework,
        institution=institution,
        asked_by=actor.name,
        at=measured[0].at,
        measures=measured,
    )
    return SignedEvidence(evidence=evidence, signature=receipts.signature(signed_bytes(evidence), privacy))


def verify(document: bytes, *, key: str | None) -> EvidenceVerified:
    """Verify evidence from the file alone. `key`: the site's public key, or its fingerprint; None: unknown.

    Raises:
        EvidenceRefused: it is not as it was signed, or is of another key.
    """
    try:
        found = SignedEvidence.model_validate_json(document)
        if found.text().encode() != document:
            raise EvidenceRefused
        fingerprint = receipts.signed_by(signed_bytes(found.evidence), found.signature, key)
    except ValidationError as error:
        raise EvidenceRefused from error
    except ReceiptRefused as error:
        why = "" if str(error) == str(ReceiptRefused()) else str(error)
        raise EvidenceRefused(why) from error
    evidence = found.evidence
    return EvidenceVerified(
        framework=evidence.framework,
        at=evidence.at,
        asked_by=evidence.asked_by,
        exceptions=sum(len(each.exceptions) for each in evidence.measures),
        fingerprint=fingerprint,
        key_known=None if key is None else True,
    )


@cache
def _texts() -> Mapping[str, Mapping[str, Any]]:
    return tomllib.loads(_FRAMEWORKS.read_text(encoding="utf-8"))


def _measured(look: Look, name: str, article: str) -> Measured:
    look.asked.clear()
    found = MEASURES[name](look)
    return Measured(
        measure=f"{article} {name}",
        query="\n".join(dict.fromkeys(look.asked)),
        figure=found.figure,
        exceptions=sorted(found.exceptions, key=lambda each: each.number or ""),
        reports=found.reports,
        at=utc(look.now),
    )
