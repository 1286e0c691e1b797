"""The directory over LDAP: what its answers to our bind and to our reading mean."""

from __future__ import annotations

from consumers.directory import answers
from consumers.kit.ldap import LdapClient
from consumers.kit.ldap_answers import LdapAnswer
from pipeline.errors import SesameError


class DirectoryClient(LdapClient):
    """Connections to the directory."""

    def bind_refused(self, answer: LdapAnswer) -> SesameError:
        """See `LdapClient.bind_refused`."""
        return answers.bind_refused(answer)

    def judge_reading(self, answer: LdapAnswer) -> None:
        """See `LdapClient.judge_reading`.

        Raises:
            Busy, Misconfigured: as `answers.judge`.
        """
        answers.judge(answer)
