"""CAS: login, the observation that it works, single logout, and the login probe.

Import its modules by name: code that reads what is recorded needs no CAS library.
"""
