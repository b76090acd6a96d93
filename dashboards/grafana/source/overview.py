"""How much of the monolith is gone, where every capability is, and what waits for what."""

from ficus import FORWARDED, PHASE_WORDS, phase_number, phases, transitions
from model import curves, dashboard, field, figure, query, table, words

LINK = {"title": "Capability", "url": "/d/ficus-capability?var-capability=${__data.fields.Capability}&${__url_time_range}"}


def standing():
    each = "max by (capability) ({})".format
    column = lambda expr: query(expr, instant=True, table=True)
    return table(
        "Where every capability stands",
        "One row for each capability: its phase, the share of its readers on the new service, reasons to hold, lag, and rows that differ.",
        "short",
        {
            "Time": None,
            "capability": "Capability",
            "Value #A": "Phase",
            "Value #B": "In it for",
            "Value #C": "Readers on the new service",
            "Value #D": "Holds",
            "Value #E": "Lag",
            "Value #F": "Drift",
            "Value #G": "Set aside",
        },
        column(phase_number()),
        column(each("ficus_phase_age_seconds")),
        column(each("ficus_ramp_ratio")),
        column(each("ficus_capability_holds")),
        column(each("ficus_sync_lag_seconds")),
        column("sum by (capability) (max by (capability, table) (ficus_drift_rows))"),
        column(each("ficus_quarantined_rows")),
        overrides=[
            field("Capability", links=[LINK]),
            field("Phase", mappings=words(PHASE_WORDS)),
            field("In it for", unit="s"),
            field("Readers on the new service", unit="percentunit"),
            field("Lag", unit="s"),
        ],
        w=24,
        h=7,
    )


def waiting():
    text = "What is missing for each capability's next transition, by name: a gate, a hold, another capability. `ficus status` has the sentences."
    expr = "max by (capability, kind, on) (ficus_waiting_for)"
    columns = {"Time": None, "capability": "Capability", "kind": "Waits for", "on": "Which", "Value": "How many"}
    return table("What waits for what", text, "short", columns, query(expr, instant=True, table=True), w=12, h=8, none="nothing is waited for")


def make():
    moved = f'(sum(rate(ficus_requests_total{{side="modern"}}[$__rate_interval])) or vector(0))\n/\nsum(rate(ficus_requests_total{{{FORWARDED}}}[$__rate_interval]))'
    gone = [
        figure("Requests answered by new services", "How much of the monolith is gone, measured by traffic.", "percentunit", query(moved, instant=True), w=5),
        figure(
            "Capabilities that have moved",
            "Whose writes a new service owns, and how many capabilities there are.",
            "short",
            query('sum(max by (capability) (ficus_owner{side="modern"}))', "moved", instant=True),
            query("count(max by (capability) (ficus_owner))", "all", instant=True),
            w=5,
        ),
        figure(
            "Reasons to hold",
            "Put by people and by failing gates. Each keeps a capability from going forward.",
            "short",
            query("sum(max by (capability) (ficus_capability_holds))", instant=True),
            steps=((0, "green"), (1, "orange")),
            w=4,
        ),
        figure(
            "Alerts firing",
            "Of the alert rules that come with Ficus.",
            "short",
            query('count(ALERTS{alertname=~"Ficus.+", alertstate="firing"}) or vector(0)', instant=True),
            steps=((0, "green"), (1, "red")),
            w=5,
        ),
        figure(
            "Rule files refused",
            "In the range. The last good ones served on; `ficus check` names every error.",
            "short",
            query("sum(increase(ficus_rules_reload_failures_total[$__range]))", instant=True),
            steps=((0, "green"), (0.5, "orange")),
            w=5,
        ),
        standing(),
    ]
    traffic = [
        curves("Requests", "What the gateway carries, by capability; `none` is what no rule speaks of.", "reqps",
               query("sum by (capability) (rate(ficus_requests_total[$__rate_interval]))", "{{capability}}"), stacked=True),
        curves("Errors", "Share of 5xx among the answers of both sides.", "percentunit",
               query("capability:ficus_errors:ratio_rate5m", "{{capability}}")),
        curves("Error budget", "How many times faster than allowed the budget of one failure in a thousand is spent; 1 is just in time.", "x",
               query("capability:ficus_errors:ratio_rate1h / 0.001", "{{capability}}, 1 h"),
               query("capability:ficus_errors:ratio_rate6h / 0.001", "{{capability}}, 6 h")),
    ]
    rows = [("How far", gone), ("Phases", [phases(w=12), waiting()]), ("Traffic", traffic)]
    text = "How much of the monolith is gone, the phase of each capability, and what waits for what."
    return dashboard("ficus-overview", "Ficus: overview", text, [], transitions(), rows)
