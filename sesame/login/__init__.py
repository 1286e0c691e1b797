"""CAS: logging in, the observation that it works, single logout, and the login probe.

Its rooms are asked for by their own names: who looks at what is recorded needs no library of CAS.
"""
