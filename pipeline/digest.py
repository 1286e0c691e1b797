"""A canonical digest of an observed state."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def digest_of(observed: Any) -> str:
    """Return `sha256:` and the hex digest of `observed`'s canonical JSON.

    Canonical: sorted keys, no blanks, UTF-8.

    Args:
        observed: dicts, lists, strings, numbers, booleans and None only. Sort a list first, unless the target
            keeps its order.

    Raises:
        TypeError: a value has no JSON form.
    """
    text = json.dumps(observed, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
