"""Writes `rules.yml` and `rules.test.yml`: the window as an objective, and what else somebody must look at.

Run it after a change: `python ops/prometheus/build.py`. A test says when the files are not current.

The objectives: of the persons' propagations 99 % complete within 15 minutes, 99.9 % within 60. Each either
completes inside an edge or is counted once, by a durable timer, when the edge passes, so that a target that
answers nothing cannot hide it. Burn rates and windows: Google, The Site Reliability Workbook, chapter 5.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RUNBOOKS = "{{ $externalLabels.runbooks }}"
"""Where this site reads the runbooks: `prometheus.yml` says so, once for all alerts."""

OBJECTIVES = {"15_min": (0.99, ("within_15_min",)), "60_min": (0.999, ("within_15_min", "within_60_min"))}
BURNS = (
    # severity, burn rate, long and short window, how many must be late in the long one
    ("page", 14.4, "1h", "5m", 2),
    ("page", 6, "6h", "30m", 5),
    ("ticket", 3, "1d", "2h", 5),
    ("ticket", 1, "3d", "6h", 5),
)


def ratio(edge: str, window: str) -> str:
    """The share of persons' propagations that passed the edge, among those that ended or passed it."""
    inside = "|".join(OBJECTIVES[edge][1])
    late = f'sum(rate(sesame_propagation_late_total{{edge="{edge}"}}[{window}]))'
    within = f'sum(rate(sesame_propagation_in_window_total{{window=~"{inside}"}}[{window}]))'
    return f"{late} / ({within} + {late})"


def recorded(edge: str, window: str) -> str:
    """The name under which that share is recorded."""
    return f"sesame:propagation_late:ratio_rate{window}:{edge}"


def recordings() -> list[dict[str, Any]]:
    """The shares, over every window that an alert needs."""
    windows = dict.fromkeys(window for _, _, long, short, _ in BURNS for window in (long, short))
    return [
        {"record": recorded(edge, window), "expr": ratio(edge, window)}
        for edge in OBJECTIVES
        for window in windows
    ]


def burning(edge: str, severity: str) -> str:
    """The budget of an objective is being used up too fast, over a long window and still now."""
    budget = f"(1 - {OBJECTIVES[edge][0]})"
    return " or ".join(
        f"({recorded(edge, long)} > {burn} * {budget} and {recorded(edge, short)} > {burn} * {budget}"
        f' and sum(increase(sesame_propagation_late_total{{edge="{edge}"}}[{long}])) > {least})'
        for kind, burn, long, short, least in BURNS
        if kind == severity
    )


def alert(name: str, expr: str, severity: str, summary: str, *, wait: str = "0m") -> dict[str, Any]:
    """One alert, with its chapter of the runbooks."""
    return {
        "alert": name,
        "expr": expr,
        "for": wait,
        "labels": {"severity": severity},
        "annotations": {"summary": summary, "runbook_url": f"{RUNBOOKS}#{name.lower()}"},
    }


def window_alerts() -> list[dict[str, Any]]:
    """Two for each objective: somebody is called, or somebody looks during the day."""
    alerts = []
    for edge, minutes in (("15_min", 15), ("60_min", 60)):
        target = OBJECTIVES[edge][0]
        for severity, name in (("page", "Burning"), ("ticket", "Slipping")):
            summary = f"Too many propagations take over {minutes} minutes for {target:.1%} to stay inside."
            alerts.append(
                alert(f"SesameWindow{minutes}{name}", burning(edge, severity), severity, summary, wait="2m")
            )
    return alerts


PAUSED = 'max by (consumer) (sesame_consumer_state{state="paused"}) == 1'
# A receiver of webhooks that is away is somebody else's to mend: SesameTargetDown tells of it during the day.
STALLED = (
    'sum by (consumer) (min_over_time(sesame_lag_records{consumer!~"webhooks_.+"}[10m])) > 0'
    " and on (consumer) sum by (consumer) (delta(sesame_lag_records[10m])) >= 0"
    " unless on (consumer) (time() - max by (consumer) (sesame_last_progress_timestamp_seconds) < 600)"
    f" unless on (consumer) ({PAUSED})"
)
# Of each process by itself: what is well in one must not hide what is not in another. A loop that died with
# its process shows nothing any more, and is counted by whoever reads the store.
DOWN = (
    "max by (consumer, instance) (sesame_consumer_up) == 0"
    " or max by (consumer) (sesame_consumer_processes) == 0"
)
STUCK = (
    "max by (consumer, instance) (sesame_circuit_state) == 2"
    " unless on (consumer) (max by (consumer) (sesame_quarantined) == 1)"
)
POSTPONED = 'sum(increase(sesame_portal_messages_total{result="postponed"}[15m]))'
MAIL_STUCK = f'{POSTPONED} > 0 unless sum(increase(sesame_portal_messages_total{{result="sent"}}[15m])) > 0'
LETTERS = "max by (consumer, cause) (sesame_dead_letters)"
# A cause that nobody had an hour ago counts from 0.
GROWING = f"{LETTERS} - (max by (consumer, cause) (sesame_dead_letters offset 1h) or {LETTERS} * 0) > 10"


def other_alerts() -> list[dict[str, Any]]:
    """What else somebody must look at."""
    return [
        alert(
            "SesameAbsent",
            "absent(sesame_consumer_up)",
            "page",
            "No process of Sésame has been seen for five minutes: nobody is provisioned.",
            wait="5m",
        ),
        alert(
            "SesameProcessGone",
            'up{job="sesame"} == 0',
            "page",
            "Prometheus gets no answer from {{ $labels.instance }}: that process is dead, or hangs.",
            wait="2m",
        ),
        alert(
            "SesameProcessSilent",
            "max by (consumer, process) (sesame_consumer_silent_seconds) > 60",
            "page",
            "{{ $labels.consumer }} gives no sign of life in {{ $labels.process }}, "
            "which has not ended properly.",
            wait="1m",
        ),
        alert(
            "SesameConsumerDown",
            DOWN,
            "page",
            "The loop of {{ $labels.consumer }} does not run in "
            "{{ if $labels.instance }}{{ $labels.instance }}{{ else }}any process{{ end }}.",
            wait="2m",
        ),
        alert(
            "SesameConsumerStalled",
            STALLED,
            "page",
            "{{ $labels.consumer }} has {{ $value }} records to read, and has got nowhere for ten minutes.",
        ),
        alert(
            "SesameTargetDown",
            STUCK,
            "ticket",
            "{{ $labels.consumer }} is down, throttles or refuses us in {{ $labels.instance }}; "
            "its work there waits.",
            wait="5m",
        ),
        alert(
            "SesameQuarantined",
            "max by (consumer) (sesame_quarantined) == 1",
            "page",
            "{{ $labels.consumer }} gave up too much of its work, "
            "and has stopped until somebody lets it go on.",
        ),
        alert(
            "SesameTargetPaused",
            PAUSED,
            "ticket",
            "An operator paused {{ $labels.consumer }} four hours ago or more; nobody is shut there either.",
            wait="4h",
        ),
        alert(
            "SesameDeadLettersGrowing",
            GROWING,
            "ticket",
            "{{ $value }} more dead letters of {{ $labels.consumer }} within an hour: {{ $labels.cause }}.",
        ),
        alert(
            "SesameDeadLettersLeft",
            "sum by (consumer) (max by (consumer, cause) (sesame_dead_letters)) > 0",
            "ticket",
            "{{ $value }} dead letters of {{ $labels.consumer }} have waited for somebody for a day.",
            wait="1d",
        ),
        alert(
            "SesameOperatorNeeded",
            "max by (consumer, reason) (sesame_operator_needed) > 0",
            "ticket",
            "{{ $value }} wait for an operator at {{ $labels.consumer }}: {{ $labels.reason }}.",
            wait="30m",
        ),
        alert(
            "SesameRetriesPilingUp",
            'max by (consumer) (sesame_parked{kind="retry"}) > 100',
            "ticket",
            "{{ $value }} students are being tried again at {{ $labels.consumer }}.",
            wait="15m",
        ),
        alert(
            "SesameOutboxStuck",
            "min(min_over_time(sesame_outbox_rows[5m])) > 0",
            "page",
            "Events have been waiting in the outbox for five minutes: the log takes none, or no relay runs.",
            wait="5m",
        ),
        alert(
            "SesameImportMissing",
            "(time() - max by (feed) (sesame_import_finished_timestamp_seconds) > 36 * 3600"
            " unless on (feed) sesame_import_polled_timestamp_seconds)"
            " or time() - max by (feed) (sesame_import_polled_timestamp_seconds) > 600",
            "ticket",
            "The feed {{ $labels.feed }} has brought nothing for a day and a half; if live, for ten minutes.",
        ),
        alert(
            "SesameCanaryFails",
            "max by (step) (sesame_canary_ok) == 0",
            "page",
            "The canary gets no further than {{ $labels.step }}: no student does.",
            wait="6m",
        ),
        alert(
            "SesameCanaryMissing",
            # 0: it does not go by itself.
            "time() - (max(sesame_canary_finished_timestamp_seconds) > 0) > 900",
            "ticket",
            "The canary has not come back for a quarter of an hour.",
        ),
        alert(
            "SesameImportHeld",
            "max by (feed) (sesame_import_held) == 1",
            "ticket",
            "An import of {{ $labels.feed }} would change too much, and waits for an approval.",
        ),
        alert(
            "SesameClosingsHeld",
            "max by (kind) (sesame_closings_held) > 0",
            "ticket",
            "Time would close ({{ $labels.kind }}) unusually many accounts: {{ $value }} are held.",
        ),
        alert(
            "SesameDrift",
            'sum by (target) (max by (target, kind) (sesame_reconcile_differences{kind!="went_back"})) > 0',
            "ticket",
            "At {{ $labels.target }} {{ $value }} objects are not as the accounts want them.",
        ),
        alert(
            "SesameTargetWentBack",
            'max by (target) (sesame_reconcile_differences{kind="went_back"}) > 0',
            "page",
            "{{ $labels.target }} shows an older state than before, or lost unusually much at once.",
        ),
        alert(
            "SesameNotCompared",
            "time() - max by (target) (sesame_reconcile_finished_timestamp_seconds) > 2 * 86400",
            "ticket",
            "{{ $labels.target }} was not compared with the accounts for two days.",
        ),
        alert(
            "SesameAuditUnsent",
            "max by (kind) (sesame_audit_unsent_oldest_seconds) > 900",
            "ticket",
            "The audit has not reached its receiver ({{ $labels.kind }}) for a quarter of an hour.",
            wait="5m",
        ),
        alert(
            "SesameAuditCut",
            "max(sesame_audit_entries) < max(max_over_time(sesame_audit_entries[1d]))",
            "page",
            "The audit has fewer entries than it had today: a restore, or somebody has cut it.",
        ),
        alert(
            "SesameMailStuck",
            MAIL_STUCK,
            "page",
            "No message to students' addresses has left for a quarter of an hour: they wait for their codes.",
            wait="5m",
        ),
        alert(
            "SesameMailRefused",
            'sum(increase(sesame_portal_messages_total{result="refused"}[1h])) > 10',
            "ticket",
            "{{ $value | humanize }} messages to students' addresses were refused for good within an hour.",
        ),
        alert(
            "SesameBlind",
            "max by (instance) (sesame_scrape_failing) == 1",
            "ticket",
            "{{ $labels.instance }} cannot read its figures from the store; the ones shown are old.",
            wait="2m",
        ),
    ]


def rules() -> dict[str, Any]:
    """The whole file."""
    return {
        "groups": [
            {"name": "sesame-window-shares", "interval": "30s", "rules": recordings()},
            {"name": "sesame-window", "rules": window_alerts()},
            {"name": "sesame", "rules": other_alerts()},
        ]
    }


def text() -> str:
    """The file's text. JSON is YAML."""
    head = "# Written by `python ops/prometheus/build.py`: change that, not this.\n"
    return head + json.dumps(rules(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    (HERE / "rules.yml").write_text(text(), encoding="utf-8")
