"""The directory: each student's SupAnn and eduPerson entry, written over LDAP and read back."""

from consumers.directory.entry import Profile
from consumers.directory.handler import DirectoryHandler
from consumers.directory.ldap import Endpoint, LdapClient
from consumers.directory.port import Directory, ObservedEntry
from consumers.directory.trial import Trial, Verdict
from consumers.directory.upsert import Branches, LdapDirectory

__all__ = [
    "Branches",
    "Directory",
    "DirectoryHandler",
    "Endpoint",
    "LdapClient",
    "LdapDirectory",
    "ObservedEntry",
    "Profile",
    "Trial",
    "Verdict",
]
