"""A stand-in for Pégase's APIs `ins`, `chc` and `idt`, faults included.

It is a separate process (`python -m sandbox.pegase`). It answers as the OpenAPI files `ins` 2.6.1, `chc`
1.5.2 and `idt` 1.6.0 say, and where these are silent as public clients expect. Assumed of `idt`:
its page has the form of `ins`, and `courrielInstitutionnel` shows what is set.
"""

from sandbox.pegase.rows import composition, inscription
from sandbox.pegase.server import Pegase

__all__ = ["Pegase", "composition", "inscription"]
