"""The suite that every connector passes: what an account's owner may count on, one check each.

The author writes a fixture `bench` that starts the target, or its stand-in, and yields a `ConnectorBench`;
one
line brings the tests:

    from sesame.testing.connector.suite import *

The faults of a network are the suite's: it puts a relay between the connector and its target.
"""
