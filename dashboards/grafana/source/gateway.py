"""The gateways: what they carry, what they refuse, and whether they keep up with what is published."""

from ficus import FORWARDED, quantile, transitions
from model import curves, dashboard, figure, heat, query, variable

INSTANCE = variable("instance", "Gateway", "label_values(ficus_requests_under_way, instance)", multi=True, includeAll=True, allValue=".+")
THESE = 'instance=~"$instance"'
ANY = f"ficus_requests_total{{{THESE}}}"


def or_none(expr):
    return f"{expr}\nor\nsum(rate({ANY}[$__rate_interval])) * 0"


def health():
    return [
        figure("Gateways that answer", "Of those that Prometheus knows.", "short", query(f'sum(up{{job="ficus", {THESE}}})', instant=True), w=6),
        figure("Longest silence", "Since a gateway last reported to the orchestrator. After its validity it refuses writes of migrating capabilities.", "s",
               query("max(ficus_gateway_report_age_seconds)", instant=True), none="none has reported", steps=((0, "green"), (5, "orange"), (10, "red")), w=6),
        figure("Published states refused", "In the range. A gateway that refuses one serves by the last good one.", "short",
               query(f"sum(increase(ficus_published_refused_total{{{THESE}}}[$__range]))", instant=True), steps=((0, "green"), (0.5, "red")), w=6),
        figure("Panics", "In the range. Each ended one request or one task; the log names the place.", "short",
               query(f"sum(increase(ficus_panics_total{{{THESE}}}[$__range]))", instant=True), steps=((0, "green"), (0.5, "red")), w=6),
    ]


def traffic():
    seconds = f"ficus_request_duration_seconds_bucket{{{THESE}, {FORWARDED}}}"
    return [
        curves("Requests", "By the side that answered; `gateway` is what the gateways answered themselves.", "reqps",
               query(f"sum by (side) (rate({ANY}[$__rate_interval]))", "{{side}}"), stacked=True),
        curves("Codes", "By class.", "reqps", query(f"sum by (code) (rate({ANY}[$__rate_interval]))", "{{code}}"), stacked=True),
        curves("Requests under way", "Being carried now, by gateway.", "short",
               query(f"sum by (instance) (ficus_requests_under_way{{{THESE}}})", "{{instance}}")),
        heat("Latency", "From a request's head to its answer's end, whatever the side.", f"sum by (le) (rate({seconds}[$__rate_interval]))", w=12),
        curves("Latency, by gateway", "99 of 100 requests were answered within this time.", "s",
               query(quantile(0.99, "instance, le", seconds), "{{instance}}"), w=12),
    ]


def upstreams():
    return [
        curves("Servers that do not answer", "1 while the last connections to it failed, or it is not well. Of a new service: reads go to the "
               "monolith meanwhile. Of the monolith: nothing goes back to it by itself.", "short",
               query(f"max by (capability) (ficus_modern_down{{{THESE}}})", "{{capability}}, new service"),
               query(f"max by (capability) (ficus_legacy_down{{{THESE}}})", "{{capability}}, monolith")),
        curves("Tried again on the monolith", "Reads that the new service failed. No caller noticed.", "reqps",
               query(f"sum by (capability) (rate(ficus_fallbacks_total{{{THESE}}}[$__rate_interval]))", "{{capability}}"), stacked=True),
        curves("No rule speaks of them", "Requests that went to the default upstream.", "reqps",
               query(or_none(f'sum(rate(ficus_requests_total{{{THESE}, capability="none"}}[$__rate_interval]))'), "requests")),
    ]


def instances():
    return [
        curves("Instances", "Of each upstream, by what is thought of them: failing requests has an instance ejected for a while, failing probes "
               "makes it unwell. Of several gateways, what the most pessimistic one sees of the good ones, and of the others.", "short",
               query(f'min by (upstream) (ficus_upstream_instances{{{THESE}, state="available"}})', "{{upstream}}, available"),
               query(f'max by (upstream, state) (ficus_upstream_instances{{{THESE}, state!="available"}})', "{{upstream}}, {{state}}")),
        curves("Sent to another instance", "`connect`: nothing had been sent. `broken` and `status`: reads, within the budget of `retry`.", "reqps",
               query(f"sum by (upstream, reason) (rate(ficus_upstream_retries_total{{{THESE}}}[$__rate_interval]))", "{{upstream}}, {{reason}}"),
               stacked=True),
        curves("Ejected, and not found", "Instances that were left alone for failing requests, and times that it could not be found out where an "
               "upstream's instances are.", "short",
               query(f"sum by (upstream) (increase(ficus_upstream_ejections_total{{{THESE}}}[$__rate_interval]))", "{{upstream}}, ejected"),
               query(f"sum by (upstream) (increase(ficus_upstream_discovery_failures_total{{{THESE}}}[$__rate_interval]))",
                     "{{upstream}}, not found")),
        curves("Requests by upstream", "That it has now; and that wait for a place, where its `bulkhead` limits them.", "short",
               query(f'sum by (upstream) (ficus_upstream_requests{{{THESE}, state="under_way"}})', "{{upstream}}"),
               query(f'sum by (upstream) (ficus_upstream_requests{{{THESE}, state="waiting"}})', "{{upstream}}, waiting")),
        curves("Circuits", "0: requests go to it. 1: some are tried. 2: too many failed, none is sent. The most pessimistic gateway's.", "short",
               query(f"max by (upstream) (ficus_upstream_circuit{{{THESE}}})", "{{upstream}}")),
        curves("Kept answers", "Requests of routes with `cache`, by what became of them.", "reqps",
               query(f"sum by (outcome) (rate(ficus_cache_total{{{THESE}}}[$__rate_interval]))", "{{outcome}}"), stacked=True),
        figure("Room of kept answers", "Of all gateways, about. Each has `size` of `[gateway.cache]`.", "bytes",
               query(f"sum(ficus_cache_bytes{{{THESE}}})", instant=True), w=6),
    ]


def limits():
    return [
        curves("Connections", "Of clients, by gateway; also those that are idle.", "short",
               query(f"sum by (instance) (ficus_connections{{{THESE}}})", "{{instance}}")),
        curves("Connections refused", "Closed at once, by the limit that was reached.", "cps",
               query(f"sum by (limit) (rate(ficus_connections_refused_total{{{THESE}}}[$__rate_interval]))", "{{limit}}"), stacked=True),
        curves("Answered by plugins", "Limits, pages of maintenance, preflights and the like, by the plugin's kind.", "reqps",
               query(f"sum by (plugin) (rate(ficus_plugin_answers_total{{{THESE}}}[$__rate_interval]))", "{{plugin}}"), stacked=True),
        curves("Not counted together", "Requests under a shared limit while Redis was away, by what holds then.", "reqps",
               query(f"sum by (when_away) (rate(ficus_rate_limits_unshared_total{{{THESE}}}[$__rate_interval]))", "{{when_away}}"), stacked=True),
        curves("Writes held", "At fences, by capability. At `hold_requests` a gateway answers 503.", "short",
               query(f"sum by (capability) (ficus_held_requests{{{THESE}}})", "{{capability}}")),
        curves("Refused", "Requests that the gateways answered themselves, by reason.", "reqps",
               query(or_none(f"sum by (reason) (rate(ficus_refusals_total{{{THESE}}}[$__rate_interval]))"), "{{reason}}"), stacked=True),
        curves("Clients that were left", "HTTP/2 connections that were ended, by what the client did.", "cps",
               query(f"sum by (why) (rate(ficus_connections_left_total{{{THESE}}}[$__rate_interval]))", "{{why}}"), stacked=True),
        figure("First certificate to end", "Of those that gateways and admin listeners show. Renewed files are read by gateways within seconds.", "s",
               query("min(ficus_certificate_expires_timestamp_seconds or ficus_admin_certificate_expires_timestamp_seconds) - time()", instant=True), none="no certificates",
               steps=((0, "red"), (14 * 86400, "green")), w=6),
        figure("Certificate files that cannot be used", "What was read before goes on serving; the log says why.", "short",
               query("sum(ficus_certificate_unread)", instant=True), none="no certificates", steps=((0, "green"), (0.5, "red")), w=6),
        curves("Generations", "What is published, and by what each gateway serves.", "none",
               query("max(ficus_published_generation)", "published"), query(f"max by (instance) (ficus_rules_generation{{{THESE}}})", "{{instance}}"), min=None),
    ]


def make():
    rows = [("Health", health()), ("Traffic", traffic()), ("Upstreams", upstreams()), ("Instances", instances()), ("Limits and rules", limits())]
    text = "Gateways: requests, upstream health, what was tried again or refused, and the state that each serves by."
    return dashboard("ficus-gateway", "Ficus: gateway", text, [INSTANCE], transitions(), rows)
