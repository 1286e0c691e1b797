"""The directory: each student's SupAnn and eduPerson entry, written over LDAP and read back.

`ldap` and `upsert` are asked for by their own names: they load an LDAP library.
"""

from consumers.directory.entry import Profile
from consumers.directory.handler import DirectoryHandler
from consumers.directory.port import Directory, ObservedEntry
from consumers.directory.trial import Trial, TrialVerdict

__all__ = [
    "Directory",
    "DirectoryHandler",
    "ObservedEntry",
    "Profile",
    "Trial",
    "TrialVerdict",
]
