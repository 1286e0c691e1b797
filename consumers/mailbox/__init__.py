"""The mailbox: folders, quota, one welcome message and the opted-in redirection, on a Dovecot server."""
