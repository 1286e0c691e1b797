"""An account's life after its last enrolment: grace, expiry, erasure; and the guard over what closes."""
