"""Active Directory: accounts and groups of the computer rooms, over LDAP.

On Windows' own server or on Samba.

Rooms, from the wire upwards: `answers` (what a refusal means), `client` (the connections), `groups`,
`objects` (a user in Active Directory's words), `connector`.
"""
