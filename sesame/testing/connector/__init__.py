"""The suite that every connector passes: one check for each promise to a student.

The author writes a fixture `bench` that starts the target, or its stand-in, and yields a `ConnectorBench`;
one line brings the tests:

from sesame.testing.connector.suite import *

The faults of a network are the suite's: it puts a relay between the connector and its target.
"""
