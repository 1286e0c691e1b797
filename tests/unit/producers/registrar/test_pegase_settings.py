"""Where Pégase is, and as whom it is called: one secret address."""

from __future__ import annotations

import pytest
from pydantic import SecretStr, ValidationError

from pipeline.settings import SecretUnreadable, SettingsError
from producers.registrar.pegase.settings import PegaseSettings, year_of


def settings(url: str) -> PegaseSettings:
    return PegaseSettings(url=SecretStr(url))


@pytest.mark.parametrize(
    ("url", "instance"),
    [
        (
            "https://svc:s%40%3Acret@{module}.univ.pc-scol.fr/",
            ("https://{module}.univ.pc-scol.fr", "svc", "s@:cret"),
        ),
        ("http://svc:x@127.0.0.1:8100/{module}", ("http://127.0.0.1:8100/{module}", "svc", "x")),
    ],
)
def test_an_address_has_the_account_in_it(url: str, instance: tuple[str, ...]) -> None:
    assert tuple(settings(url).instance()) == instance


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://svc:geheim@{module}.univ.fr", "must begin with https://"),
        ("https://svc@{module}.univ.fr", "USER:PASSWORD@"),
        ("https://{module}.univ.fr", "USER:PASSWORD@"),
        ("https://svc:geheim@ins.univ.fr", "{module}"),
        ("svc:geheim", "USER:PASSWORD@"),
        ("https://svc:geheim@[::1/{module}", "IPv6"),
    ],
)
def test_another_one_is_refused_without_the_password(url: str, said: str) -> None:
    with pytest.raises(SettingsError, match=r"pegase\.url") as refused:
        settings(url).instance()
    assert said in str(refused.value)
    assert "geheim" not in str(refused.value) + refused.value.remedy
    assert "https://USER:PASSWORD@{module}" in refused.value.remedy


def test_without_one_there_is_no_pegase() -> None:
    assert not PegaseSettings().is_set
    with pytest.raises(SecretUnreadable):
        PegaseSettings().instance()


@pytest.mark.parametrize(("period", "year"), [("PER-2026", 2026), ("S1-2026-2027", 2026), ("2025", 2025)])
def test_a_period_names_its_year(period: str, year: int) -> None:
    assert PegaseSettings(periods={"ETAB00": (period,)}).periods == {"ETAB00": (period,)}
    assert year_of(period) == year


@pytest.mark.parametrize("period", ["PER", "", "PER/2026", "../2026", "PER 2026"])
def test_a_period_without_a_year_or_with_a_path_is_refused(period: str) -> None:
    with pytest.raises(ValidationError):
        PegaseSettings(periods={"ETAB00": (period,)})


def test_the_password_is_in_no_text_of_the_account() -> None:
    assert "geheim" not in repr(settings("https://svc:geheim@{module}.univ.fr").instance())
