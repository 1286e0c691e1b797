"""The university's statements: terms, privacy, accessibility, lost address."""

from __future__ import annotations

from fastapi import APIRouter, Response

from sesame.web.students.portal_request import Visiting

router = APIRouter()


@router.get("/charte")
def show_charter(visit: Visiting) -> Response:
    """The terms of use that students accept."""
    return visit.page("charter.html")


@router.get("/donnees")
def show_privacy(visit: Visiting) -> Response:
    """The privacy notice (GDPR, articles 13 and 14)."""
    return visit.page("privacy.html")


@router.get("/accessibilite")
def show_accessibility(visit: Visiting) -> Response:
    """The accessibility statement (decree 2019-768, RGAA 4.1)."""
    return visit.page("accessibility.html")


@router.get("/adresse-perdue")
def show_lost_address(visit: Visiting) -> Response:
    """Help for a lost personal address: the office, and the papers to bring."""
    return visit.page("lost.html")
