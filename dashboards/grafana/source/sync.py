"""The rows of one capability: how many, how late, how equal, in both directions."""

from ficus import CAPABILITY, MINE, transitions
from model import curves, dashboard, figure, query


def health():
    return [
        figure("Existing rows copied", "The initial copy. Changes are streamed once it is complete.", "percentunit",
               query(f"max(ficus_backfill_ratio{{{MINE}}})", instant=True), none="not begun", steps=((0, "blue"), (1, "green")), w=6),
        figure("Rows that differ", "As of the last verification, over all tables.", "short",
               query(f"sum(max by (table) (ficus_drift_rows{{{MINE}}}))", instant=True), none="not verified yet", steps=((0, "green"), (1, "red")), w=6),
        figure("Rows set aside", "They could not be applied; the rest went on without them.", "short",
               query(f"max(ficus_quarantined_rows{{{MINE}}})", instant=True), steps=((0, "green"), (1, "red")), w=6),
        figure("Last heard of the agent", "It reports every second, and at once when something happens.", "s",
               query(f"min(ficus_agent_report_age_seconds{{{MINE}}})", instant=True), none="no agent reports", steps=((0, "green"), (10, "red")), w=6),
    ]


def lag():
    entries = f"max by (direction) (ficus_sync_lag_entries{{{MINE}}})"
    return [
        curves("Lag", "Age of the oldest change that is not applied. `forward`: monolith to new service; `reverse`: back.", "s",
               query(f"max by (direction) (ficus_sync_lag_seconds{{{MINE}}})", "{{direction}}")),
        curves("Backlog", "Changes in the source's log that are not applied, counted in entries: what the engine takes for one.", "short",
               query(entries, "{{direction}}")),
        curves("Backlog, in bytes", "Of the source's log; of SQLite's an estimate by entries.", "bytes",
               query(f"max by (direction) (ficus_sync_lag_bytes{{{MINE}}})", "{{direction}}")),
        curves("Log kept for the agent", "What the source may not remove before the agent has confirmed it: PostgreSQL's slot, SQLite's own log.", "bytes",
               query(f"max by (direction) (ficus_source_log_kept_bytes{{{MINE}}})", "{{direction}}")),
        curves("Growth of the backlog", "Above zero the sync does not keep up, and the log of the source grows.", "cps",
               query(f"deriv({entries}[1m:])", "{{direction}}"), min=None),
    ]


def rows_applied():
    rate = f"(rate(ficus_sync_rows_total{{{MINE}}}[$__rate_interval]))"
    return [
        curves("Rows applied", "By direction. Only the side that owns the writes has changes to send.", "rowsps", query(f"sum by (direction) {rate}", "{{direction}}")),
        curves("Rows applied, by table", "By direction and legacy table.", "rowsps", query(f"sum by (table, direction) {rate}", "{{table}}, {{direction}}"), stacked=True),
        curves("Drift, by table", "Rows that differed at the last verification, after they were looked at again.", "short",
               query(f"max by (table) (ficus_drift_rows{{{MINE}}})", "{{table}}"), none="not verified yet"),
    ]


def events():
    by_bus = "max by (bus)"
    return [
        curves("Events that wait", "Age of the oldest change event that a bus has not confirmed. The rows themselves do not wait for it.", "s",
               query(f"{by_bus} (ficus_events_lag_seconds{{{MINE}}})", "{{bus}}"), none="nobody is told"),
        curves("Events sent", "Change events that a bus has confirmed; and how many of those at hand it has not.", "short",
               query(f"sum by (bus) (rate(ficus_events_sent_total{{{MINE}}}[$__rate_interval]))", "{{bus}}, a second"),
               query(f"{by_bus} (ficus_events_waiting{{{MINE}}})", "{{bus}}, waiting"), none="nobody is told"),
    ]


def make():
    rows = [("Health", health()), ("Lag", lag()), ("Rows", rows_applied()), ("Events", events())]
    text = "Rows of one capability between both databases: lag, throughput, drift, and what could not be applied."
    return dashboard("ficus-sync", "Ficus: sync", text, [CAPABILITY], transitions(MINE), rows)
