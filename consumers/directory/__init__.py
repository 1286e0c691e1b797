"""The directory: students' SupAnn and eduPerson entries over LDAP. Every write is read back."""

from typing import Final

NAME: Final = "directory"
"""Its name in `targets`, and of its section of the settings."""
