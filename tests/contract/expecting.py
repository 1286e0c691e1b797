"""The recorded answers and counts that a reproduction has to meet."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.contract.comparing import Ids, body_differences
from tests.contract.recording import load_entries
from tests.contract.sending import Answer

ENTRIES = {entry.name: entry for entry in load_entries()}


def expected_of(name: str, prefix: str = "d") -> Any:
    """Return the recorded answer with the test's own prefix in the usernames."""
    text = json.dumps(ENTRIES[name].fields["response"])
    return json.loads(re.sub(r"\bd(?=\d)", prefix, re.sub(r"\bD(?=\d)", prefix.upper(), text)))


def noted_count(name: str, where: str = "note") -> int:
    """Return the number of rows that the recorder found in the database."""
    found = re.search(r"(\d+)$", ENTRIES[name].fields[where])
    assert found is not None
    return int(found[1])


def assert_as_recorded(name: str, answer: Answer, prefix: str = "d", kind: str = "user") -> None:
    """Compare status, content type and answer with the recorded ones."""
    fields = ENTRIES[name].fields
    assert (answer.status, answer.content_type) == (fields["status"], fields["content_type"])
    assert body_differences(expected_of(name, prefix), answer.body, Ids(), kind=kind) == []
