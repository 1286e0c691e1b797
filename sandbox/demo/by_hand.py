"""A student who has not activated yet, to activate by hand in a browser."""

from __future__ import annotations

from dataclasses import dataclass

from sandbox.demo.play import wait_for_accounts
from sandbox.demo.program import DONE
from sandbox.demo.world import World

_HEADER = (
    "COD_ETU;COD_NNE_IND;LIB_NOM_PAT_IND;LIB_NOM_USU_IND;LIB_PR1_IND;DATE_NAI_IND;MAIL_PERSO;COD_ANU;COD_ETP;"
    "COD_VRS_VET;COD_CMP;LIB_ETP;TEM_IAE_PRM;ETA_IAE;ETA_PMT_IAE;IP_VALIDE"
)
_ROW = "{number};;Lefebvre-Démo;;Camille;03/02/2008;{mail};2026;L1INFO;261;SCI;Licence 1 Informatique;O;E;P;O"


@dataclass(frozen=True, slots=True)
class ByHand:
    """The student's number and personal address."""

    number: str = "22690001"
    mail: str = "camille.lefebvre@courriel.example"

    def enrol(self, world: World) -> None:
        """Import this student, start the students' pages, and wait for the account.

        Raises:
            CommandFailed, StartFailed: one of them does not work.
        """
        before = int(world.sesame.overview()["accounts"])
        file = world.private / "one-more.csv"
        row = _ROW.format(number=self.number, mail=self.mail)
        file.write_text(f"{_HEADER}\n{row}\n", encoding="utf-8")
        world.sesame.run("import", file, "--json", allowed=(DONE,))
        wait_for_accounts(world, before + 1)
        world.start_pages()

    def words(self, world: World) -> str:
        """The form's values, and the message's place."""
        return (
            f"\nActivate an account by hand: {world.pages.url}\n"
            f"  student number {self.number}, personal address {self.mail}\n"
            f"  the code is in the newest message: {world.pages.messages_url}"
        )
