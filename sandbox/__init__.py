"""Real servers on loopback for the demo and the tests.

Each server lives in a temporary folder, listens on loopback only, and is ended by its starter. Nothing of the
project is imported.
"""
