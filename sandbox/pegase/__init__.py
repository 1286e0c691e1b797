"""A stand-in for Pégase's APIs `ins` and `chc` on loopback, faults included.

It is a separate process (`python -m sandbox.pegase`). It answers as the OpenAPI files `ins` 2.6.1 and `chc`
1.5.2 say, and where these are silent as public clients expect.
"""

from sandbox.pegase.rows import composition, inscription
from sandbox.pegase.server import Pegase

__all__ = ["Pegase", "composition", "inscription"]
