"""The directory: each student's SupAnn and eduPerson entry, written over LDAP and read back."""
