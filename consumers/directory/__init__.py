"""The directory: students' SupAnn and eduPerson entries, written over LDAP.

Every write is read back.
"""

from typing import Final

NAME: Final = "directory"
"""What `targets` calls it, and its section of the settings."""
