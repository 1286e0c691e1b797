"""The directory: each student's SupAnn and eduPerson entry, written over LDAP and read back."""

from typing import Final

NAME: Final = "directory"
"""What `targets` calls it, and its section of the settings."""
