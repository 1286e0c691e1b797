"""Programme steps (étapes) of an imaginary university."""

from __future__ import annotations

from typing import NamedTuple


class Step(NamedTuple):
    """One step. `level`: years since the baccalauréat, 1 for the first; `places`: its relative size."""

    component: str
    code: str
    label: str
    level: int
    places: int


def _licence(component: str, code: str, name: str, places: int) -> list[Step]:
    """Three years of a bachelor's degree; a third leaves after each."""
    sizes = (places, places * 2 // 3, places // 2)
    return [
        Step(component, f"L{level}{code}", f"Licence {level} {name}", level, size)
        for level, size in enumerate(sizes, start=1)
    ]


def _master(component: str, code: str, name: str, places: int) -> list[Step]:
    return [
        Step(component, f"M{level}{code}", f"Master {level} {name}", level + 3, places) for level in (1, 2)
    ]


def _but(code: str, name: str, places: int) -> list[Step]:
    return [
        Step("IUT", f"BUT{level}{code}", f"BUT {level} {name}", level, places - 5 * level)
        for level in (1, 2, 3)
    ]


STEPS: tuple[Step, ...] = (
    *_licence("SCI", "INFO", "Informatique", 60),
    *_licence("SCI", "MATH", "Mathématiques", 40),
    *_licence("SCI", "PC", "Physique, chimie", 40),
    *_licence("SCI", "SV", "Sciences de la vie", 60),
    *_licence("DRO", "DROIT", "Droit", 120),
    *_licence("DRO", "AES", "Administration économique et sociale", 60),
    *_licence("ECO", "EG", "Économie et gestion", 80),
    *_licence("LSH", "HIST", "Histoire", 50),
    *_licence("LSH", "LEA", "Langues étrangères appliquées : anglais–espagnol", 60),
    *_licence("LSH", "PSY", "Psychologie", 90),
    *_licence("LSH", "SOCIO", "Sociologie", 40),
    *_licence("LSH", "ART", "Arts du spectacle – parcours « cinéma »", 25),
    *_licence("STAPS", "STAPS", "Sciences et techniques des activités physiques et sportives", 70),
    Step("MED", "PASS", "Parcours d'accès spécifique santé", 1, 90),
    Step("MED", "DFGSM2", "Diplôme de formation générale en sciences médicales, 2e année", 2, 30),
    *_but("INFO", "Informatique", 40),
    *_but("GEA", "Gestion des entreprises et des administrations", 45),
    *_but("TC", "Techniques de commercialisation", 45),
    *_but("MMI", "Métiers du multimédia et de l'internet", 30),
    *_master("SCI", "INFO", "Informatique : génie logiciel", 25),
    *_master("DRO", "DPRIV", "Droit privé", 25),
    *_master("ECO", "FIN", "Finance d'entreprise", 20),
    *_master("LSH", "PSYCL", "Psychologie clinique", 15),
    *_master("INSPE", "MEEF1", "Métiers de l'enseignement : premier degré", 35),
)
"""Where a student may have the primary enrolment of a year."""

EXTRA_STEPS: tuple[Step, ...] = (
    Step("LSH", "DULSF", "Diplôme d'université Langue des signes française", 1, 1),
    Step("LSH", "DUFLE", "Diplôme d'université Français langue étrangère", 1, 1),
    Step("SCI", "CERTPIX", "Certification de compétences numériques", 1, 1),
    Step("ECO", "DEPEPITE", "Diplôme étudiant–entrepreneur", 1, 1),
    Step("MED", "LASOPT", "Option accès santé (L.AS)", 1, 1),
    Step("DRO", "CAPADR1", "Capacité en droit, 1re année", 1, 1),
)
"""What some are enrolled in besides."""
