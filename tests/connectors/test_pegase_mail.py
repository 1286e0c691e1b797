"""The write-back to Pégase passes the connectors' suite, and never overwrites what people corrected there."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from consumers.kit.connector import Change, ConnectorContext, ConnectorUnusable, Held, SiteFacts, TargetObject
from consumers.kit.deadline import Deadline
from consumers.pegase_mail.connector import PegaseMailConnector
from consumers.pegase_mail.settings import PegaseMailSettings
from pipeline.errors import Misconfigured, TargetDown
from producers.registrar.pegase.settings import PegaseSettings
from sandbox.pegase import Pegase, inscription
from schemas.account import Account, Stage
from sesame.app.targets import Registrar
from sesame.testing.connector.bench import ConnectorBench
from sesame.testing.connector.suite import *


class Placed(Registrar):
    """Pégase's sign-in, with its modules behind the suite's relay."""

    def __init__(self, pegase: Pegase, periods: dict[str, tuple[str, ...]] | None = None) -> None:
        super().__init__(
            PegaseSettings(url_file=pegase.url_file, periods={"ETAB00": ()} if periods is None else periods)
        )
        self.at = f"http://127.0.0.1:{pegase.port}"

    def address(self, module: str) -> str:
        return f"{self.at}/{module}"


class Here(PegaseMailConnector):
    """The connector, of a Pégase at the address that the suite writes into the section."""

    def __init__(self, context: ConnectorContext[PegaseMailSettings]) -> None:
        registrar = context.site.registrar
        if isinstance(registrar, Placed) and context.settings.title:
            registrar.at = context.settings.title
        super().__init__(context)


def enrol(pegase: Pegase, accounts: Sequence[Account]) -> None:
    row = {
        "COD_NNE_IND": "",
        "LIB_NOM_PAT_IND": "Éssai",
        "LIB_NOM_USU_IND": "",
        "LIB_PR1_IND": "Zoé",
        "DATE_NAI_IND": "01/02/2007",
        "MAIL_PERSO": "",
        "COD_ANU": "2026",
        "COD_ETP": "L1INFO",
        "COD_VRS_VET": "261",
        "COD_CMP": "SCI",
        "LIB_ETP": "Licence 1",
        "TEM_IAE_PRM": "O",
        "ETA_IAE": "E",
        "ETA_PMT_IAE": "P",
        "IP_VALIDE": "O",
    }
    pegase.put(inscription({**row, "COD_ETU": each.student_number}) for each in accounts)


@pytest.fixture
def bench(pegase: Pegase) -> ConnectorBench:
    return ConnectorBench(
        Here,
        lambda address: {"title": f"http://{address}"},
        f"127.0.0.1:{pegase.port}",
        site=SiteFacts(registrar=Placed(pegase)),
        leader=lambda accounts: enrol(pegase, accounts),
    )


# --- what people correct ----------------------------------------------------------------------------------


@contextmanager
def connected(bench: ConnectorBench) -> Iterator[PegaseMailConnector]:
    with bench.connected() as connector:
        yield connector


def looked(connector: PegaseMailConnector, *accounts: Account) -> list[object]:
    found = connector.read(accounts, Deadline.after(30))
    return [found[each.student_number] for each in accounts]


def one(connector: PegaseMailConnector, account: Account) -> TargetObject:
    [seen] = looked(connector, account)
    assert isinstance(seen, list)
    [found] = seen
    assert isinstance(found, TargetObject)
    return found


def write(connector: PegaseMailConnector, account: Account, found: TargetObject) -> object:
    change = Change(account, found, {"mail": (account.mail,)})
    return connector.apply([change], Deadline.after(30)).get(account.student_number)


def test_a_correction_by_hand_is_held_and_an_emptied_one_is_not(
    bench: ConnectorBench, pegase: Pegase
) -> None:
    first, second = bench.account(), bench.account()
    enrol(pegase, (first, second))
    pegase.correct({first.student_number: "zoe.essai@autre.fr", second.student_number: ""})
    with connected(bench) as connector:
        held, free = one(connector, first), one(connector, second)
        assert held.held == Held("pegase_corrected", fields=("mail",))
        assert held.fields == {"mail": ("zoe.essai@autre.fr",)}
        assert (free.held, free.fields) == (None, {"mail": ()})
        assert write(connector, second, free) is None
        pegase.correct({first.student_number: ""})
        assert write(connector, first, one(connector, first)) is None
    assert pegase.mails() == {each.student_number: each.mail for each in (first, second)}


def test_an_address_without_a_mailbox_is_not_told(pegase: Pegase) -> None:
    site = SiteFacts(registrar=Placed(pegase), mail_target="partage")
    bench = ConnectorBench(
        Here,
        lambda address: {"title": f"http://{address}"},
        f"127.0.0.1:{pegase.port}",
        site=site,
        leader=lambda accounts: enrol(pegase, accounts),
    )
    with connected(bench) as connector:
        later = bench.account(stages={"partage": Stage.PRECREATED})
        assert connector.wanted(later).fields == {}
        has_one = bench.account(stages={"moodle": Stage.PRECREATED})
        assert connector.wanted(has_one).fields == {"mail": (has_one.mail,)}


def test_a_former_address_of_ours_is_replaced_and_another_case_is_the_same(
    bench: ConnectorBench, pegase: Pegase
) -> None:
    renamed = bench.account(aliases=("zz-ancienne@etu.univ-exemple.fr",))
    shouted = bench.account()
    enrol(pegase, (renamed, shouted))
    pegase.correct(
        {
            renamed.student_number: "zz-Ancienne@etu.univ-exemple.fr",
            shouted.student_number: shouted.mail.upper(),
        }
    )
    with connected(bench) as connector:
        before = one(connector, renamed)
        assert before.held is None
        assert one(connector, shouted).fields == {"mail": (shouted.mail,)}
        assert write(connector, renamed, before) is None
    assert pegase.mails()[renamed.student_number] == renamed.mail
    assert pegase.mails()[shouted.student_number] == shouted.mail.upper(), "it is not written again"


def test_who_is_not_in_pegase_waits_and_numbers_that_differ_by_case_are_two(
    bench: ConnectorBench, pegase: Pegase
) -> None:
    account = bench.account()
    other = account.model_copy(update={"student_number": account.student_number.upper()})
    enrol(pegase, [other])
    with connected(bench) as connector:  # Pégase's filter may not tell letters of another case
        unknown, known = looked(connector, account, other)
    assert unknown == Held("pegase_unknown")
    assert isinstance(known, list)
    assert [each.student_number for each in known] == [other.student_number]


# --- what Pégase answers ----------------------------------------------------------------------------------


def test_an_expired_token_is_renewed_once(bench: ConnectorBench, pegase: Pegase) -> None:
    account = bench.account()
    enrol(pegase, [account])
    pegase.set(token_s=0.3)
    with connected(bench) as connector:
        found = one(connector, account)
        time.sleep(0.4)
        pegase.set(token_s=60.0)
        assert one(connector, account) == found
        assert [each["module"] for each in pegase.calls()] == ["authn-app", "idt", "idt", "authn-app", "idt"]
    pegase.set(token_s=0.0)
    unlucky = SiteFacts(registrar=Placed(pegase))
    with (
        ConnectorBench(PegaseMailConnector, lambda _address: {}, site=unlucky).connected() as connector,
        pytest.raises(Misconfigured, match="401"),
    ):
        one(connector, account)


def test_an_account_without_rights_is_said_with_what_to_do(bench: ConnectorBench, pegase: Pegase) -> None:
    pegase.set(rights=["ins", "chc"])
    with connected(bench) as connector, pytest.raises(Misconfigured) as refused:
        connector.probe()
    assert "idt" in refused.value.remedy


def test_a_write_that_is_refused_is_that_students(bench: ConnectorBench, pegase: Pegase) -> None:
    first, second = bench.account(), bench.account()
    enrol(pegase, (first, second))
    with connected(bench) as connector:
        changes = [Change(each, one(connector, each), {"mail": (each.mail,)}) for each in (first, second)]
        pegase.fault(module="idt", path="courriel-institutionnel", status=403, calls=3)
        said = connector.apply(changes, Deadline.after(30))
    assert said.keys() == {first.student_number}
    assert pegase.mails() == {second.student_number: second.mail}


@pytest.mark.parametrize("fault", [{"html": True}, {"status": 500}, {"hang_up": True}])
def test_a_page_of_html_and_an_error_are_pegases_trouble(
    bench: ConnectorBench, pegase: Pegase, fault: dict[str, object]
) -> None:
    account = bench.account()
    enrol(pegase, [account])
    pegase.fault(module="idt", **fault)
    with connected(bench) as connector:
        assert one(connector, account).fields == {"mail": ()}, "a single one says nothing of the rest"
    pegase.fault(module="idt", calls=9, **fault)
    with connected(bench) as connector, pytest.raises(TargetDown):
        looked(connector, account)


def test_an_establishment_that_pegase_does_not_know_names_the_setting(pegase: Pegase) -> None:
    site = SiteFacts(registrar=Placed(pegase, {"ETAB99": ()}))
    with (
        ConnectorBench(PegaseMailConnector, lambda _address: {}, site=site).connected() as connector,
        pytest.raises(Misconfigured) as refused,
    ):
        connector.probe()
    assert "pegase.periods" in refused.value.remedy


@pytest.mark.parametrize("periods", [None, {}])
def test_without_pegase_it_says_what_to_set(
    pegase: Pegase, periods: dict[str, tuple[str, ...]] | None, tmp_path: Path
) -> None:
    site = SiteFacts() if periods is None else SiteFacts(registrar=Placed(pegase, periods))
    bench = ConnectorBench(PegaseMailConnector, lambda _address: {}, site=site)
    with pytest.raises(ConnectorUnusable) as refused, bench.connected():
        pass
    assert "pegase.url_file" in refused.value.remedy
