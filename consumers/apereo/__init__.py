"""The sessions of a CAS server: those of whoever may use nothing are ended, by Apereo CAS's `ssoSessions`."""
