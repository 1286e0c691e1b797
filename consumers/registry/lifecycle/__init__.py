"""An account after its last enrolment: grace, expiry, erasure, and their guard."""
