"""A stand-in of BSS, RENATER Partage's provisioning interface.

There is no other public one known. RENATER runs one Partage, and gives out no copy to try against. This
answers as the public clients of BSS expect, from rules and its own data; it stores no recorded answer. What
it knows, and where from:

- **libPythonBssApi** (Université de Rennes): methods, parameters, `Auth`, the life of a token, the form of
  the XML (`type="integer"`, `type="array"`), the attributes of an account, the messages that are temporary
  and those of what is not found;
- **Hermes** (INSA Strasbourg): `name` and `sn` are required, and an empty value clears an attribute;
- **Zimbra** itself: addresses are kept in lower case and given once, `GetAccount` finds an account by its
  aliases too, `email address already exists`.

Invented, because no source has it: the texts for a wrong key, a missing parameter and an unknown attribute;
that statuses other than 0 are all 2; the page for an unknown method. Not covered: passwords (there are no
logins), groups, resources, shares, definitions of lists; a distribution list is only a taken address.

By hand, in a folder that holds the files `preauth-key` and `control-key`:

    python -m sandbox.partage --port 8090 --folder partage --domain etu.univ-exemple.fr

From a test:

    with Partage(tmp_path, token_s=5) as partage:
        client = connect(partage.url, partage.domain, partage.key)
        partage.fault("LDAP error: busy", method="CreateAccount", after_commit=True)
        partage.set(maintenance=["lea.martin@etu.univ-exemple.fr"], latency_s=0.2)

Rooms: `accounts` (the data), `query` (LDAP filters), `service` (the methods), `conditions` (troubles), `web`
(HTTP, XML and `/_control`), `server` (the process, for fixtures).
"""

from sandbox.partage.server import Partage

__all__ = ["Partage"]
