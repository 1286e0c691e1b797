"""Why a student is not (yet) as wanted in Moodle: tokens, what they mean, and what an operator does about
them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Final

from schemas.language import Language


class CauseKind(Enum):
    """What becomes of the student's turn."""

    WAIT = "wait"  # for an operator; looked at again now and then
    RETRY = "retry"
    DEAD = "dead"


class MoodleCause(StrEnum):
    """Tokens of outcomes; dead letters are grouped by them. `explanation` says what each one means."""

    USERNAME_TAKEN = "moodle_username_taken"
    EMAIL_TAKEN = "moodle_email_taken"

    DUPLICATE_IDNUMBER = "moodle_duplicate_idnumber"
    LOGIN_INVALID = "moodle_login_invalid"
    EMAIL_INVALID = "moodle_email_invalid"
    NAME_MISSING = "moodle_name_missing"
    REFUSED_VALUES = "moodle_refused_values"
    WRITE_REFUSED = "moodle_write_refused"
    ADMIN_ACCOUNT = "moodle_admin_account"
    DUPLICATE_COHORT = "moodle_duplicate_cohort"
    COHORT_CONFLICT = "moodle_cohort_conflict"
    COHORT_REFUSED = "moodle_cohort_refused"

    BUSY = "moodle_busy"
    BROKEN = "moodle_broken"
    OUTCOME_UNKNOWN = "moodle_outcome_unknown"
    NOT_APPLIED = "moodle_not_applied"
    OUT_OF_TIME = "moodle_out_of_time"

    @property
    def kind(self) -> CauseKind:
        """What becomes of the student's turn."""
        return _CAUSES[self][0]

    @property
    def explanations(self) -> Mapping[Language, str]:
        """What it means and how to mend it, for operators, by language; names nobody."""
        return _CAUSES[self][1]

    @property
    def explanation(self) -> str:
        """The same in English, for what is recorded."""
        return self.explanations["en"]


@dataclass(frozen=True)
class MoodleFault:
    """One reason.

    Attributes:
        cause: the token.
        about: what it is about, when that is no person: a cohort's idnumber, an error code of Moodle's.
    """

    cause: MoodleCause
    about: str = ""

    @property
    def message(self) -> str:
        """The explanation, and what it is about."""
        return f"{self.cause.explanation} [{self.about}]" if self.about else self.cause.explanation


def _why(kind: CauseKind, *, fr: str, en: str) -> tuple[CauseKind, Mapping[Language, str]]:
    return kind, {"fr": fr, "en": en}


_CAUSES: Final[dict[MoodleCause, tuple[CauseKind, Mapping[Language, str]]]] = {
    MoodleCause.USERNAME_TAKEN: _why(
        CauseKind.WAIT,
        fr="L'identifiant est celui d'un utilisateur de Moodle dont le champ idnumber est vide ou "
        "différent. S'il s'agit d'un ancien compte de cet étudiant, inscrivez le numéro "
        "d'étudiant dans son champ idnumber ; sinon, renommez-le.",
        en="The login is the username of a Moodle user whose idnumber is another one or empty. If "
        "that is this student's earlier account, write the student number in its idnumber field; "
        "if not, rename it.",
    ),
    MoodleCause.EMAIL_TAKEN: _why(
        CauseKind.WAIT,
        fr="L'adresse électronique appartient à un utilisateur de Moodle dont le champ idnumber est "
        "différent, et le site refuse les doublons. S'il s'agit d'un ancien compte de cet "
        "étudiant, inscrivez le numéro d'étudiant dans son champ idnumber ; sinon, changez son "
        "adresse.",
        en="The mail address belongs to a Moodle user with another idnumber, and the site refuses it "
        "twice. If that is this student's earlier account, write the student number in its "
        "idnumber field; if not, change its address.",
    ),
    MoodleCause.DUPLICATE_IDNUMBER: _why(
        CauseKind.DEAD,
        fr="Plusieurs utilisateurs de Moodle portent ce numéro d'étudiant dans leur champ idnumber. "
        "Gardez-en un (extension merge-users de Moodle), videz ce champ chez les autres, puis "
        "relancez.",
        en="Several Moodle users carry this student number in idnumber. Keep one (Moodle's "
        "merge-users plugin), empty the field of the others, then replay.",
    ),
    MoodleCause.LOGIN_INVALID: _why(
        CauseKind.DEAD,
        fr="Moodle n'accepte pas cet identifiant : minuscules, chiffres et . _ - @ seulement, 100 "
        "caractères au plus. Changez le modèle des identifiants ou cet identifiant, puis relancez.",
        en="Moodle does not take this login: lower-case letters, digits and . _ - @ only, 100 "
        "characters at most. Change the login template or this login, then replay.",
    ),
    MoodleCause.EMAIL_INVALID: _why(
        CauseKind.DEAD,
        fr="Moodle n'accepte pas cette adresse électronique : il faut une adresse en ASCII de 100 "
        "caractères au plus. Changez le modèle d'adresse ou cette adresse, puis relancez.",
        en="Moodle does not take this mail address: an ASCII address of 100 characters at most is "
        "needed. Change the mail template or this address, then replay.",
    ),
    MoodleCause.NAME_MISSING: _why(
        CauseKind.DEAD,
        fr="Moodle exige un prénom et un nom de famille ; un nom vide effacerait celui qu'il a. "
        "Faites compléter le nom par la scolarité.",
        en="Moodle needs a given name and a family name, and an empty one would wipe what it has. "
        "Complete the name at the registrar.",
    ),
    MoodleCause.REFUSED_VALUES: _why(
        CauseKind.DEAD,
        fr="Moodle refuse les valeurs de cet utilisateur, pris seul, sans dire lesquelles : cherchez "
        "un < dans un nom, un domaine de messagerie que le site interdit (allowemailaddresses, "
        "denyemailaddresses) ou une langue qui n'est pas installée.",
        en="Moodle refuses this user's values, alone and without saying which: look for < in a name, "
        "a mail domain that the site forbids (allowemailaddresses, denyemailaddresses), a "
        "language pack that is not installed.",
    ),
    MoodleCause.WRITE_REFUSED: _why(
        CauseKind.DEAD,
        fr="La base de Moodle refuse chaque fois la ligne de cet étudiant, et accepte celles des "
        "autres : une valeur trop longue pour sa colonne, ou une ligne endommagée. Le journal de "
        "Moodle dit laquelle en mode débogage ; puis relancez.",
        en="Moodle's database refuses this student's row again and again, while it takes others': a "
        "value too long for its column, or a broken row. Moodle's log says which, with debugging "
        "on; then replay.",
    ),
    MoodleCause.ADMIN_ACCOUNT: _why(
        CauseKind.DEAD,
        fr="L'utilisateur de Moodle qui porte ce numéro d'étudiant est administrateur du site (ou "
        "l'invité), que les services web ne peuvent pas modifier. Retirez-lui ce rôle, ou videz "
        "son champ idnumber, puis relancez.",
        en="The Moodle user with this student number is a site administrator (or the guest), whom "
        "web services may not change. Take the role away, or empty its idnumber field, then "
        "replay.",
    ),
    MoodleCause.DUPLICATE_COHORT: _why(
        CauseKind.DEAD,
        fr="Plusieurs cohortes portent le même idnumber : personne ne peut dire laquelle inscrit aux "
        "cours. Supprimez-les toutes sauf celle à laquelle les cours sont liés, puis relancez "
        "cette cause.",
        en="Several cohorts carry the same idnumber, so nobody can say which one enrols. Delete all "
        "but the one that the courses are tied to, then replay this cause.",
    ),
    MoodleCause.COHORT_CONFLICT: _why(
        CauseKind.DEAD,
        fr="L'idnumber d'une cohorte existante ne diffère que par des majuscules, des accents ou des "
        "blancs ; la base les confond et en refuse une seconde. Corrigez son idnumber, puis "
        "relancez pour cette cause.",
        en="A cohort exists whose idnumber differs in capitals, accents or blanks only; the database "
        "takes them for the same and refuses a second one. Correct its idnumber, then replay this "
        "cause.",
    ),
    MoodleCause.COHORT_REFUSED: _why(
        CauseKind.DEAD,
        fr="Moodle refuse de créer cette cohorte : il faut un idnumber de 100 caractères au plus et "
        "un nom. Corrigez le modèle des cohortes, puis relancez pour cette cause.",
        en="Moodle refuses to create this cohort: an idnumber of 100 characters at most and a name "
        "are needed. Correct the cohort template, then replay this cause.",
    ),
    MoodleCause.BUSY: _why(
        CauseKind.RETRY,
        fr="La base de Moodle a refusé l'écriture, pour d'autres aussi : des verrous, ou un disque plein.",
        en="Moodle's database refused the write, for others too: locks, or a full disk.",
    ),
    MoodleCause.BROKEN: _why(
        CauseKind.RETRY,
        fr="PHP échoue sur la ligne de cet étudiant, et sur aucune autre : consultez le journal PHP du site.",
        en="PHP fails on this student's row, and on no other: see the site's PHP log.",
    ),
    MoodleCause.OUTCOME_UNKNOWN: _why(
        CauseKind.RETRY,
        fr="La réponse à une écriture s'est perdue, et la relecture ne la montre pas (encore). Une "
        "nouvelle comparaison a lieu.",
        en="The answer to a write was lost, and what was read back does not show it (yet). It is "
        "compared again.",
    ),
    MoodleCause.NOT_APPLIED: _why(
        CauseKind.RETRY,
        fr="Moodle a accepté l'écriture, et la relecture montre autre chose : un autre programme "
        "écrit le même champ, ou moodle.max_input_vars dépasse la valeur du site et PHP a coupé "
        "l'appel.",
        en="Moodle accepted the write, and reading it back shows something else: somebody else "
        "writes the same field, or moodle.max_input_vars is above the site's and PHP cut the "
        "call.",
    ),
    MoodleCause.OUT_OF_TIME: _why(
        CauseKind.RETRY,
        fr="Moodle a été trop lent pour ce lot ; le reste est fait plus tard.",
        en="Moodle was too slow for this batch; the rest is done later.",
    ),
}
