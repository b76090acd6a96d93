"""One cutover or revert, stage by stage, and what callers felt of it."""

from ficus import CAPABILITY, MINE, or_nothing, phases, transitions
from model import bars, choice, curves, dashboard, figure, query

STAGES = ("fence", "drain", "fence_database", "catch_up", "verify", "sequences", "open", "release")
DIRECTION = choice("direction", "Direction", "cutover", "revert")
THESE = f'{MINE}, direction="$direction"'


def stages():
    one = "max(ficus_switch_stage_seconds{{{these}, stage=\"{stage}\"}})".format
    queries = [query(one(these=THESE, stage=stage), f"{at} {stage.replace('_', ' ')}", instant=True) for at, stage in enumerate(STAGES, 1)]
    text = "How long each stage of the last one took, in order. Up to `sequences` it could have been taken back. A stage that was not reached is missing."
    return bars("The last one, stage by stage", text, "s", *queries, w=12, h=10, none="there was none yet")


def summary():
    total, count = (f"sum(increase(ficus_cutover_pause_seconds_{part}{{{THESE}}}[$__range]))" for part in ("sum", "count"))
    longest = f"histogram_quantile(1, sum by (le) (increase(ficus_cutover_pause_seconds_bucket{{{THESE}}}[$__range]))) and ({count} > 0)"
    return [
        figure("Pause of the writes", "Mean over the range: from the first held write to the first one released.", "s",
               query(f"{total} / ({count} > 0)", instant=True), none="there was none", w=6, h=5),
        figure("Longest pause, at most", "Upper bound of the histogram's bucket.", "s", query(longest, instant=True), none="there was none", w=6, h=5),
        figure("Done", "In the range.", "short", query(count, instant=True), w=6, h=5),
        figure("Taken back", "Aborted before the point of no return, in the range. Nothing had changed.", "short",
               query(f"sum(increase(ficus_switches_aborted_total{{{THESE}}}[$__range]))", instant=True), steps=((0, "green"), (0.5, "orange")), w=6, h=5),
    ]


def make():
    held = "ficus_hold_seconds_bucket{" + MINE + "}"
    over_range = "histogram_quantile({q}, sum by (le) (increase({held}[$__range])))".format
    timeline = [
        phases(MINE + ", ", w=24, h=4),
        curves("Writes", "Held at the gateways, and sent to a side but not yet answered.", "short",
               query(or_nothing(f"sum(ficus_held_requests{{{MINE}}})"), "held"), query(or_nothing(f"sum(ficus_inflight_writes{{{MINE}}})"), "under way")),
        curves("Fence", "1 while gateways are told to hold writes. Usually shorter than a scrape.", "short", query(f"max(ficus_fenced{{{MINE}}})", "fence"), max=1),
        curves("Lag", "A switch waits until the owner's changes are applied: the less there is, the shorter the pause.", "s",
               query(f"max by (direction) (ficus_sync_lag_seconds{{{MINE}}})", "{{direction}}")),
        curves("How long writes were held", "Half of those that were held in the range, and 99 of 100, waited no longer.", "s",
               query(over_range(q=0.5, held=held), "half"), query(over_range(q=0.99, held=held), "99 of 100"), none="no write was held", w=12),
        curves("Refused by the gateways", "Requests that they answered themselves, by reason: a write that waited too long is `hold_deadline`.", "reqps",
               query("sum by (reason) (rate(ficus_refusals_total[$__rate_interval]))", "{{reason}}"), none="none was refused", w=12),
    ]
    last = [stages(), *summary()]
    text = "A timeline of one cutover or revert: its stages, held and running writes, lag, and the pause that callers felt."
    rows = [("Timeline", timeline), ("Figures", last)]
    return dashboard("ficus-cutover", "Ficus: cutover", text, [CAPABILITY, DIRECTION], transitions(MINE), rows)
