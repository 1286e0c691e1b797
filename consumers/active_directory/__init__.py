"""Active Directory (Windows' or Samba): accounts and groups of computer rooms.

Rooms, from the wire upwards: `answers` (what a refusal means), `client` (the connections), `groups`,
`objects` (a user's attributes), `connector`.
"""
