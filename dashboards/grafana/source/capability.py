"""One capability: where it is, its two sides beside each other, its ramp, its shadow, its gates."""

from ficus import CAPABILITY, MINE, PHASE_WORDS, VERDICT_WORDS, or_nothing, phase_number, phases, quantile, transitions
from model import curves, dashboard, figure, heat, query, states, table, words

OWNERS = {0: ("monolith", "blue"), 1: ("new service", "green")}


def now():
    waiting = query(f"max by (kind, on) (ficus_waiting_for{{{MINE}}})", instant=True, table=True)
    columns = {"Time": None, "kind": "Waits for", "on": "Which", "Value": "How many"}
    return [
        figure("Phase", "Where it is.", "short", query(phase_number(MINE + ", "), instant=True), mappings=words(PHASE_WORDS)),
        figure("In it for", "Since it entered its phase or step.", "s", query(f"max(ficus_phase_age_seconds{{{MINE}}})", instant=True)),
        figure("Owner of the writes", "Reads may go elsewhere; writes have one owner.", "short",
               query(f'max(ficus_owner{{{MINE}, side="modern"}})', instant=True), mappings=words(OWNERS)),
        figure("Reasons to hold", "Put by people and by failing gates.", "short",
               query(f"max(ficus_capability_holds{{{MINE}}})", instant=True), steps=((0, "green"), (1, "orange"))),
        table("Waits for", "What is missing for the next transition, by name.", "short", columns, waiting, w=8, h=4, none="nothing"),
        phases(MINE + ", ", w=24, h=4),
    ]


def side(name, who):
    """Rate by code and latency of one side."""
    mine = f'{MINE}, side="{name}"'
    return (
        curves(f"{who}: requests", f"What the {who.lower()} answered, by class of code.", "reqps",
               query(f"sum by (code) (rate(ficus_requests_total{{{mine}}}[$__rate_interval]))", "{{code}}"), stacked=True, w=12),
        heat(f"{who}: latency", f"How long the {who.lower()} took, from a request's head to its answer's end.",
             f"sum by (le) (rate(ficus_request_duration_seconds_bucket{{{mine}}}[$__rate_interval]))", w=12),
    )


def beside():
    (old_rate, old_heat), (new_rate, new_heat) = side("legacy", "Monolith"), side("modern", "New service")
    total = f"sum by (side) (rate(ficus_requests_total{{{MINE}}}[$__rate_interval]))"
    failed = f'sum by (side) (rate(ficus_requests_total{{{MINE}, code="5xx"}}[$__rate_interval]))'
    duration = f"ficus_request_duration_seconds_bucket{{{MINE}}}"
    return [
        old_rate, new_rate, old_heat, new_heat,
        curves("Errors", "Share of 5xx on each side; `gateway` is what the gateway answered itself.", "percentunit",
               query(f"(\n  {failed}\n  or\n  {total} * 0\n)\n/\n{total}", "{{side}}"), w=12),
        curves("Latency", "Half of the requests, and 99 of 100, were answered within this time.", "s",
               query(quantile(0.5, "side, le", duration), "{{side}}, half"), query(quantile(0.99, "side, le", duration), "{{side}}, 99 of 100"), w=12),
    ]


def ramp():
    return [
        curves("Readers on the new service", "The share of callers whose reads it serves.", "percentunit",
               query(f"max(ficus_ramp_ratio{{{MINE}}})", "share"), max=1),
        curves("Why requests went where they went", "By the reason that `ficus explain` gives. `own_writes` and `copy_behind` are reads that wait for the sync.", "reqps",
               query(f"sum by (because) (rate(ficus_decisions_total{{{MINE}}}[$__rate_interval]))", "{{because}}"), stacked=True),
        curves("Fallbacks", "Reads that the monolith answered because the new service did not. No caller noticed.", "reqps",
               query(or_nothing(f"sum(rate(ficus_fallbacks_total{{{MINE}}}[$__rate_interval]))"), "fallbacks")),
    ]


def shadow():
    compared = f"sum(rate(ficus_shadow_comparisons_total{{{MINE}}}[$__rate_interval]))"
    different = f'sum(rate(ficus_shadow_comparisons_total{{{MINE}, verdict=~"different|failed"}}[$__rate_interval]))'
    return [
        curves("Comparisons", "Mirrored reads by verdict. `ficus diffs` shows samples of the different ones.", "reqps",
               query(f"sum by (verdict) (rate(ficus_shadow_comparisons_total{{{MINE}}}[$__rate_interval]))", "{{verdict}}"), stacked=True),
        curves("Different answers", "Share of the compared answers that differed, or that the new service did not give.", "percentunit",
               query(f"{different}\n/\n({compared} > 0)", "different"), none="nothing is compared now"),
        curves("Not compared", "Mirrored reads that were given up, by reason.", "reqps",
               query(f"sum by (reason) (rate(ficus_shadow_dropped_total{{{MINE}}}[$__rate_interval]))", "{{reason}}"), stacked=True),
    ]


def make():
    verdicts = states("Verdicts", "The judgement of each gate. Only `pass` lets a step end; `fail` takes a ramp back.", VERDICT_WORDS,
                      query(f"max by (gate) (ficus_gate_verdict{{{MINE}}})", "{{gate}}"), w=24, h=7, none="no gate is judged now")
    rows = [("Now", now()), ("Side by side", beside()), ("Ramp", ramp()), ("Shadow", shadow()), ("Gates", [verdicts])]
    text = "The way of one capability: legacy and modern side by side, its ramp, its shadow, its gates."
    return dashboard("ficus-capability", "Ficus: capability", text, [CAPABILITY], transitions(MINE), rows)
