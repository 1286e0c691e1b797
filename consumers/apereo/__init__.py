"""A CAS server's sessions: end those of closed accounts (Apereo's `ssoSessions`)."""
