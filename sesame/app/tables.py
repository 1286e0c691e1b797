"""All tables, in the metadata of the migrations; importing a module declares them."""
# ruff: noqa: F401

from __future__ import annotations

from consumers.mailbox import welcome_journal
from consumers.propagation import rows as propagation
from consumers.registry import identity_doubts, ledger, pending_facts, people, teachings
from consumers.registry.erasure import erasures
from consumers.registry.lifecycle import closings
from consumers.webhooks import rows as webhooks
from pipeline import (
    accounts,
    attempts,
    locks,
    lost_records,
    outbox,
    pauses,
    quarantine,
    replays,
    status,
    target_states,
    timers,
    vault,
)
from pipeline.audit import trail as audit
from pipeline.db import migrate
from pipeline.db.metadata import metadata
from pipeline.dead_letters import rows as dead_letters
from pipeline.parking import rows as parking
from producers.activation import choices, mail_proofs, request_rows, throttles
from producers.registrar import (
    accepted_requests,
    external_ids,
    feed_memory,
    import_runs,
    memberships,
    polls,
)
from sesame.acts import life
from sesame.login import api_answers, api_tokens, cas_logins, cas_sessions
from sesame.operations.people.support import support_cases
from sesame.operations.questions.adoption import adoptions
from sesame.operations.questions.reconcile import passes
from sesame.operations.questions.restored import questions
from sesame.operations.work.canary import runs
from sesame.web.students import web_sessions

__all__ = ["metadata"]
