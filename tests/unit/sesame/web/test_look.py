"""The university's look: a colour that can be read, a logo that is a picture, links that are https."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pytest
from pydantic import ValidationError

from producers.activation.policy import PasswordRule, PasswordSettings, Personal, judge
from sesame.settings import Settings
from sesame.settings.color import NIGHT, PAPER, legible
from sesame.settings.portal import COLOR, PortalSettings
from sesame.web.kit.assets import LOGO_BYTES_MAX, Assets, LogoUnusable, read_logo
from sesame.web.students.pages import Pages

SVG = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">{}</svg>'
DOCTYPE_BOMB = (
    '<!DOCTYPE svg [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">'
    '<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;"><!ENTITY d "&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;">'
    '<!ENTITY e "&d;&d;&d;&d;&d;&d;&d;&d;&d;&d;"><!ENTITY f "&e;&e;&e;&e;&e;&e;&e;&e;&e;&e;">'
    '<!ENTITY g "&f;&f;&f;&f;&f;&f;&f;&f;&f;&f;">]><svg>&g;&g;&g;</svg>'
)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)


def contrast(one: str, other: str) -> float:
    """WCAG 2.2, 'contrast ratio' and 'relative luminance', written from the standard."""

    def luminance(color: str) -> float:
        shares = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        red, green, blue = (
            share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize(
    "color", ["#ffffff", "#ffcc00", "#ff0000", "#00ff00", "#8899aa", "#00b5e2", "#777777"]
)
def test_a_color_that_cannot_be_read_is_refused_with_the_nearest_that_can(color: str) -> None:
    assert contrast(color, PAPER) < 4.5
    with pytest.raises(ValidationError) as refused:
        PortalSettings(color=color)
    found = re.search(r"the nearest that can be is (#[0-9a-f]{6})$", str(refused.value.errors()[0]["msg"]))
    assert found is not None
    assert 4.5 <= contrast(found[1], PAPER) <= 4.8, "it is the nearest, and not any darker one"
    assert PortalSettings(color=found[1]).color == found[1], "the remedy works when it is followed"
    assert contrast("#ffffff", found[1]) >= 4.5


@pytest.mark.parametrize("color", [COLOR, "#000000", "#7a0019", "#00563f", "#5b2d8c"])
def test_a_color_that_can_be_read_is_kept_and_has_a_lighter_shade_for_the_night(color: str) -> None:
    portal = PortalSettings(color=color)
    assert portal.color == color
    night = legible(color, NIGHT)
    assert contrast(night, NIGHT) >= 4.5
    assert contrast(night, "#10131c") >= 4.5, "what is written on a button at night"
    style = Assets(portal).files["portal.css"].decode()
    assert style.startswith(f":root{{--brand-day:{color};--brand-night:{night}}}")


@pytest.mark.parametrize("color", ["red", "#12", "#1234567", "#12345g", "url(x)", "#000000;x"])
def test_what_is_no_color_is_refused(color: str) -> None:
    with pytest.raises(ValidationError):
        PortalSettings(color=color)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (SVG.format("<script>alert(1)</script>"), "<script>"),
        (SVG.format('<a xlink:href="javascript:alert(1)"/>'), "elsewhere"),
        (SVG.format('<a href=" java&#10;script:alert(1)"/>'), "elsewhere"),
        (SVG.format('<image href="https://other.example/x.png"/>'), "elsewhere"),
        (SVG.format('<use href="data:image/svg+xml,x"/>'), "elsewhere"),
        (SVG.format('<rect onload="alert(1)"/>'), "onload"),
        (SVG.format("<foreignObject><p/></foreignObject>"), "foreignobject"),
        ("<html><script>alert(1)</script></html>", "no SVG"),
        ("alert(1)", "neither SVG nor PNG"),
        ("", "neither SVG nor PNG"),
        (SVG.format(" " * LOGO_BYTES_MAX), "32 KiB"),
        (DOCTYPE_BOMB, "neither SVG nor PNG"),
    ],
)
def test_a_logo_that_is_more_than_a_picture_is_refused_with_a_word(
    tmp_path: Path, content: str, said: str
) -> None:
    path = tmp_path / "logo.svg"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(LogoUnusable, match=re.escape(said)) as refused:
        read_logo(path)
    assert str(path) in str(refused.value)
    assert "portal.logo_file" in refused.value.remedy


def test_a_logo_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(LogoUnusable, match="cannot be read"):
        Assets(PortalSettings(logo_file=tmp_path / "none.svg"))


@pytest.mark.parametrize(
    ("content", "suffix"),
    [
        (b'<?xml version="1.0"?><!DOCTYPE svg>' + SVG.format('<path d="M0 0"/>').encode(), ".svg"),
        (SVG.format('<use href="#a"/><style>.a{fill:red}</style>').encode(), ".svg"),
        (PNG, ".png"),
    ],
)
def test_a_logo_that_is_a_picture_is_shown(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / "any name"
    path.write_bytes(content)
    assets = Assets(PortalSettings(logo_file=path))
    assert re.fullmatch(rf"/static/logo\.[0-9a-f]{{12}}\{suffix}", assets.logo or "")
    assert assets.files[f"logo{suffix}"] == content


def test_links_lead_to_https_and_to_services_that_there_are() -> None:
    links = {"moodle": "https://moodle.univ.example", "mailbox": "http://localhost:8000/"}
    assert PortalSettings(links=links).links == links
    for wrong in ({"moodle": "http://moodle.univ.example"}, {"moodle": "javascript:alert(1)"}):
        with pytest.raises(ValidationError):
            PortalSettings(links=wrong)
    with pytest.raises(ValidationError, match="did you mean moodle"):
        Settings(portal=PortalSettings(links={"modle": "https://a.b"}))


def test_one_audit_is_claimed_and_has_a_day() -> None:
    day = date(2026, 10, 5)
    for wrong in ("partial", {"partial": day, "full": day}, {"none": day}):
        with pytest.raises(ValidationError, match="accessibility"):
            PortalSettings.model_validate({"accessibility": wrong})
    assert PortalSettings(accessibility={"full": day}).accessibility == {"full": day}


KINDS = ("kxvtqmlprzwg", "XVTQMLPRZKWG", "792538641753", "!#%&*+?@-_=:")


def test_the_page_asks_for_what_the_policy_asks_for() -> None:
    policy = PasswordSettings(length_min=13)
    said = Pages(Settings(password=policy)).render("_rules.html", "fr", broken=set())
    words = " ".join(said.split())
    assert (
        "au moins 13 caractères, avec des minuscules, des majuscules, des chiffres et des caractères spéciaux"
        in words
    )
    assert "ou 15 caractères, avec trois de ces quatre types" in words
    assert "une phrase d’au moins 7 mots" in words

    def refused(length: int, of: int) -> bool:
        """Whether the rule on form refuses so many characters of so many kinds."""
        mixed = "".join(KINDS[place % of][place // of % 12] for place in range(length))
        return PasswordRule.FORM in judge(mixed, Personal(frozenset()), policy).broken

    assert (refused(12, 4), refused(13, 4)) == (True, False)
    assert (refused(13, 3), refused(14, 3), refused(15, 3)) == (True, True, False)
    assert refused(15, 2)
