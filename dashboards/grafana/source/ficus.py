"""What several dashboards say alike: phases, sides, gates, the capability's variable, and marks for transitions."""

from model import annotation, query, states, variable

PHASES = {
    "draft": "text",
    "backfilling": "light-blue",
    "streaming": "blue",
    "shadowing": "purple",
    "ramping": "yellow",
    "fencing": "orange",
    "draining": "orange",
    "catching_up": "orange",
    "verifying": "orange",
    "soaking": "green",
    "retired": "dark-green",
    "reverting": "red",
    "reverted": "super-light-red",
}
PHASE_WORDS = {number: (name.replace("_", " "), color) for number, (name, color) in enumerate(PHASES.items())}
VERDICT_WORDS = {0: ("pass", "green"), 1: ("inconclusive", "yellow"), 2: ("error", "orange"), 3: ("fail", "red")}

CAPABILITY = variable("capability", "Capability", "label_values(ficus_phase, capability)")
MINE = 'capability="$capability"'
# Of all requests, those that were forwarded.
FORWARDED = 'side=~"legacy|modern"'


def phase_number(which=""):
    """The phase of each capability as a number: its place in PHASES."""
    one = 'max by (capability, phase) (ficus_phase{{{which}phase="{name}"}}) * {number}'
    terms = [one.format(which=which, name=name, number=number) for number, name in enumerate(PHASES)]
    return "sum by (capability) (\n  " + "\n  or ".join(terms) + "\n)"


def phases(which="", **more):
    """When each capability was in which phase."""
    text = "Where each capability is, and when it went there. A cutover's own phases are shorter than a scrape, and seldom seen here."
    return states("Phases", text, PHASE_WORDS, query(phase_number(which), "{{capability}}"), none="no capability reports its phase", **more)


def transitions(which=""):
    """Marks: a capability entered a phase; the writes changed their owner; bad rule files."""
    # Not where nothing was known a step before: whoever comes back has entered nothing. Grafana's step grows with the range.
    now, before = "max by (capability, {label}) ({metric}{{{which}}}) == 1", "({metric}{{{which}}} offset $__interval)"
    entered = f"{now}\nunless\nmax by (capability, {{label}}) {before} == 1\nand on (capability)\nmax by (capability) {before}"
    return [
        annotation("Phases", "blue", entered.format(label="phase", metric="ficus_phase", which=which), "{{capability}}: {{phase}}"),
        annotation("Owner", "green", entered.format(label="side", metric="ficus_owner", which=which), "{{capability}}: {{side}} owns the writes"),
        annotation("Bad rule files", "red", "max(ficus_rules_complaints) > 0", "the rule files are bad; the last good ones serve"),
    ]


def or_nothing(expr, present=f"ficus_requests_total{{{MINE}}}"):
    """Zero instead of a gap, as long as anything is scraped at all."""
    return f"{expr}\nor\nsum(rate({present}[$__rate_interval])) * 0"


def quantile(q, by, histogram, over="$__rate_interval"):
    """A quantile of a histogram's observations."""
    return f"histogram_quantile({q}, sum by ({by}) (rate({histogram}[{over}])))"
