"""A directory in memory: the shipped client over a tree of entries.

The server keeps attributes and knows nothing of accounts; the `oracle` judges them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ldap3.core.exceptions import LDAPSocketReceiveError

from consumers.directory import answers
from consumers.kit.ldap import Endpoint
from consumers.kit.ldap_patience import PatientLdapClient
from pipeline.errors import TargetDown
from schemas.account import Account
from sesame.testing.servers.ldap_kit import PEOPLE, Asked, Connection, branches
from tests.simulation import oracle
from tests.simulation.oracle_entry import entry_differs
from tests.simulation.targets.target import Fate, Target

_PROBE = f"uid=sesame-probe,{PEOPLE}"
_KEPT = ("uid", "supannEtuId", "userPassword")
"""The server always keeps of a write: an entry's names, and a hash, which cannot be read back."""


@dataclass(frozen=True)
class Kept:
    """An entry as the server has it, without what the server writes itself."""

    attributes: Mapping[str, tuple[str, ...]]


class SimulatedDirectory(Target):
    """A directory server.

    Attributes:
        passwords: hashes by their references, as they were sealed.
        entries: by student number.
    """

    def __init__(self, *args: object) -> None:
        super().__init__("directory", *args)  # type: ignore[arg-type]  # as `Target` takes them
        self.tree = branches()
        self.tree.put(_PROBE, objectClass="account")
        self.entries: dict[str, Kept] = {}
        self.passwords: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._addresses: dict[str, str] = {}
        self._shut_for: dict[str, int] = {}  # the account version that an entry was shut for last

    def client(self) -> PatientLdapClient:
        return SimulatedClient(self)

    def carried_out(
        self, asked: Asked, effect: Callable[[], int], partly: Callable[[], int] | None = None
    ) -> int:
        """The result code of a write to a student's entry."""
        if asked.verb == "add":
            number = asked.what["supannEtuId"][0]
        else:
            number = self.tree.entries[asked.dn]["supannEtuId"][0]
        codes: list[int] = []

        def done(act: Callable[[], int] = effect) -> bool | None:
            codes.append(act())
            if codes[-1] != 0:
                return None
            if "pwdAccountLockedTime" in asked.what and "sesameVersion" not in asked.what:
                self._shut_for[number] = self._version_of(number)
            self._keep(number, asked.dn)
            return True

        match self.write(number, done, None if partly is None else lambda: done(partly)):
            case Fate.BUSY:
                return 51
            case Fate.UNKNOWN:
                raise LDAPSocketReceiveError("no answer")
        return codes[-1]

    # --- for the mail server, and for the checker -------------------------------------------------

    def owner(self, address: str) -> str | None:
        """The owner of an address; None: none with enabled mail."""
        number = self._addresses.get(address)
        if number is None:
            return None
        return number if self.entries[number].attributes.get("sesameMailEnabled") == ("TRUE",) else None

    def written_for(self, number: str) -> int:
        """The account version of the entry, or the one it was shut for. Closing alone does not write it."""
        entry = self.entries.get(number)
        if entry is None:
            return 0
        version = int("".join(entry.attributes.get("sesameVersion", "0")))
        return max(version, self._shut_for.get(number, 0))

    def drift(self, number: str) -> bool:
        dn = self._names.get(number)
        if dn is not None:
            self.tree.write(dn, displayName="By Hand")
            self._keep(number, dn)
        return dn is not None

    def differs(self, account: Account) -> str:
        entry = self.entries.get(account.student_number)
        if entry is None:  # a student without access need not have one
            return "entry" if oracle.access(account) else ""
        password = self.passwords.get(account.credential_ref or "")
        return ", ".join(entry_differs(account, password, entry.attributes))

    def _keep(self, number: str, dn: str) -> None:
        there = {name: tuple(some) for name, some in self.tree.entries[dn].items() if name != "entryCSN"}
        self.entries[number] = Kept(there)
        self._names[number] = dn
        for address in (*there.get("mail", ()), *there.get("supannAutreMail", ())):
            self._addresses[address] = number


class SimulatedClient(PatientLdapClient):
    """The shipped client, over a connection to the tree. Each attempt's fate is its caller's."""

    def __init__(self, target: SimulatedDirectory) -> None:
        endpoint = Endpoint("ldap://directory.simulated", "cn=sesame", lambda: "")
        super().__init__(endpoint, answers, monotonic=lambda: target.schedule.now, attempts_max=1)
        self._target = target

    def _connect(self) -> Any:
        return SimulatedConnection(self._target)

    def _run(self, operation: str, *values: Any, writes: bool = False, **named: Any) -> Any:
        try:
            return super()._run(operation, *values, writes=writes, **named)
        except TargetDown:
            actor = self._target.schedule.current
            if actor is not None and actor.unanswered:
                self._local.unanswered = True
            raise


class SimulatedConnection(Connection):
    """A connection, whose answers the weather decides."""

    def __init__(self, target: SimulatedDirectory) -> None:
        self.target, self.tree = target, target.tree
        self.closed, self.socket = False, None

    def unbind(self) -> None:
        self.closed = True

    def add(self, dn: str, classes: Sequence[str], attributes: Mapping[str, Sequence[str]]) -> Any:
        def less(lost: str) -> int:
            kept = [] if lost == "objectClass" else classes
            return self.tree.add(dn, kept, {name: v for name, v in attributes.items() if name != lost})

        asked = Asked("add", dn, dict(attributes))
        return self._written(asked, lambda: self.tree.add(dn, classes, attributes), less, "objectClass")

    def modify(self, dn: str, changes: Mapping[str, Any], controls: Sequence[Any] | None = None) -> Any:
        csn = self.asserted(controls)

        def less(lost: str) -> int:
            return self.tree.modify(dn, {name: v for name, v in changes.items() if name != lost}, csn)

        return self._written(
            Asked("modify", dn, dict(changes)), lambda: self.tree.modify(dn, changes, csn), less
        )

    def _answer(self, asked: Asked, carry_out: Callable[[], int], *, writes: bool = False) -> Any:
        self.target.meet()
        return self.answered(carry_out())

    def _written(
        self, asked: Asked, effect: Callable[[], int], less: Callable[[str], int], *also: str
    ) -> Any:
        if not asked.dn.endswith(f",{PEOPLE}") or asked.dn == _PROBE:
            return self._answer(asked, effect)
        self.target.meet()
        some = [name for name in (*asked.what, *also) if name not in _KEPT]
        lost = self.target.weather.chance.choice(some) if some else None
        partly = None if lost is None else lambda: less(lost)
        return self.answered(self.target.carried_out(asked, effect, partly))
