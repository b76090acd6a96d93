"""What dashboards are made of: queries, panels, rows, variables, links, annotations, and where they stand.

Knows Grafana's JSON, and nothing about Ficus. A panel without a unit or a description cannot be made.
"""

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

# Grafana 10.1 and later read this version of the schema.
SCHEMA_VERSION = 38


def query(expr, legend="", instant=False, table=False):
    """One expression. `instant`: its value now, not its curve."""
    made = {"expr": expr, "legendFormat": legend, "instant": instant, "range": not instant, "datasource": DATASOURCE}
    return {**made, "format": "table"} if table else made


def panel(kind, title, text, unit, *queries, w=8, h=8, none="nothing yet", options=None, custom=None, **defaults):
    """One panel. `text` says what it shows, `none` is shown while there is nothing; `defaults` go to its fields."""
    for index, one in enumerate(queries):
        one["refId"] = "ABCDEFGHIJ"[index]
    fields = {"unit": unit, "noValue": none, **defaults}
    if custom is not None:
        fields["custom"] = custom
    return {
        "type": kind,
        "title": title,
        "description": text,
        "datasource": DATASOURCE,
        "gridPos": {"w": w, "h": h},
        "targets": list(queries),
        "options": options or {},
        "fieldConfig": {"defaults": fields, "overrides": []},
    }


def curves(title, text, unit, *queries, stacked=False, **more):
    """Curves over time, with the last and the highest value in the legend."""
    stacking = {"stacking": {"mode": "normal", "group": "A"}, "fillOpacity": 30} if stacked else {"fillOpacity": 8}
    custom = {"drawStyle": "line", "lineWidth": 1, "showPoints": "never", "spanNulls": False, **stacking}
    legend = {"displayMode": "table", "placement": "bottom", "showLegend": True, "calcs": ["lastNotNull", "max"]}
    options = {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}
    more.setdefault("min", 0)
    return panel("timeseries", title, text, unit, *queries, options=options, custom=custom, **more)


def figure(title, text, unit, *queries, steps=(), w=4, h=4, **more):
    """A number as of now. `steps`: pairs of a bound and the colour from it on."""
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "background" if steps else "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "textMode": "auto",
        "orientation": "auto",
        "wideLayout": True,
        "showPercentChange": False,
        "percentChangeColorMode": "standard",
    }
    if steps:
        more["thresholds"] = thresholds(steps)
        more["color"] = {"mode": "thresholds"}
    return panel("stat", title, text, unit, *queries, options=options, w=w, h=h, **more)


def bars(title, text, unit, *queries, **more):
    """Horizontal bars as of now, one for each series, in the order of the queries."""
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "displayMode": "basic",
        "valueMode": "color",
        "namePlacement": "auto",
        "showUnfilled": True,
        "sizing": "auto",
        "minVizWidth": 8,
        "minVizHeight": 16,
        "maxVizHeight": 300,
        "orientation": "horizontal",
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False, "calcs": []},
    }
    return panel("bargauge", title, text, unit, *queries, options=options, min=0, **more)


def heat(title, text, buckets, **more):
    """How a histogram's observations spread over time. `buckets`: a rate by `le`, in seconds."""
    options = {
        "calculate": False,
        "color": {"mode": "scheme", "scheme": "Oranges", "fill": "dark-orange", "exponent": 0.5, "steps": 64, "reverse": False},
        "cellGap": 1,
        "yAxis": {"unit": "s", "axisPlacement": "left"},
        "showValue": "never",
        "legend": {"show": True},
        "tooltip": {"mode": "single", "yHistogram": False},
        "exemplars": {"color": "rgba(255,0,255,0.7)"},
        "filterValues": {"le": 1e-9},
        "rowsFrame": {"layout": "auto"},
    }
    one = {**query(buckets, "{{le}}"), "format": "heatmap"}
    return panel("heatmap", title, text, "reqps", one, options=options, **more)


def states(title, text, values, *queries, **more):
    """Coloured bands over time. `values`: number → (word, colour)."""
    options = {
        "showValue": "auto",
        "rowHeight": 0.8,
        "mergeValues": True,
        "alignValue": "left",
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False, "calcs": []},
        "tooltip": {"mode": "single", "sort": "none"},
    }
    custom = {"fillOpacity": 80, "lineWidth": 0}
    return panel("state-timeline", title, text, "short", *queries, options=options, custom=custom, mappings=words(values), **more)


def table(title, text, unit, columns, *queries, overrides=(), **more):
    """Rows as of now; every query is a column. `columns`: Grafana's name of a field → its heading, or None to hide it."""
    options = {"frameIndex": 0, "showHeader": True, "cellHeight": "sm"}
    made = panel("table", title, text, unit, *queries, options=options, **more)
    hidden = {name: True for name, heading in columns.items() if heading is None}
    headings = {name: heading for name, heading in columns.items() if heading}
    order = {name: index for index, name in enumerate(headings)}
    made["transformations"] = [
        {"id": "merge", "options": {}},
        {"id": "organize", "options": {"excludeByName": hidden, "renameByName": headings, "indexByName": order}},
    ]
    made["fieldConfig"]["overrides"] = list(overrides)
    return made


def field(name, **properties):
    """An exception for one column of a table."""
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [{"id": key.replace("__", "."), "value": value} for key, value in properties.items()],
    }


def words(values):
    """Value mappings: number → (word, colour)."""
    options = {str(value): {"text": text, "color": color, "index": at} for at, (value, (text, color)) in enumerate(values.items())}
    return [{"type": "value", "options": options}]


def thresholds(steps):
    """A colour from each bound on; the first one from below."""
    listed = [{"value": None, "color": steps[0][1]}, *({"value": bound, "color": color} for bound, color in steps[1:])]
    return {"mode": "absolute", "steps": listed}


def variable(name, label, definition, **more):
    """A choice at the top of a dashboard, filled by a query."""
    base = {"name": name, "label": label, "type": "query", "datasource": DATASOURCE, "refresh": 2, "sort": 1, "hide": 0}
    return {**base, "query": {"query": definition, "refId": name}, **more}


def choice(name, label, *values):
    """A choice among fixed values."""
    options = [{"text": value, "value": value, "selected": at == 0} for at, value in enumerate(values)]
    base = {"name": name, "label": label, "type": "custom", "hide": 0, "query": ",".join(values)}
    return {**base, "options": options, "current": options[0]}


SOURCE = {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "refresh": 1, "hide": 0}


def annotation(name, color, expr, text):
    """Marks in every graph where `expr` has a value."""
    target = {"name": name, "datasource": DATASOURCE, "enable": True, "hide": False, "iconColor": color, "expr": expr}
    return {**target, "step": "15s", "titleFormat": text}


def dashboard(uid, title, text, variables, annotations, rows):
    """A whole dashboard. `rows`: pairs of a title and panels, which flow from left to right."""
    panels, top = [], 0
    for heading, members in rows:
        panels.append({"type": "row", "title": heading, "collapsed": False, "panels": [], "gridPos": {"x": 0, "y": top, "w": 24, "h": 1}})
        left, top, deepest = 0, top + 1, 0
        for one in members:
            size = one["gridPos"]
            if left + size["w"] > 24:
                left, top, deepest = 0, top + deepest, 0
            panels.append({**one, "gridPos": {"x": left, "y": top, **size}})
            left, deepest = left + size["w"], max(deepest, size["h"])
        top += deepest
    for number, one in enumerate(panels, 1):
        one["id"] = number
    link = {"title": "Ficus", "type": "dashboards", "icon": "external link", "tooltip": "", "url": "", "tags": ["ficus"]}
    return {
        "uid": uid,
        "title": title,
        "description": text,
        "tags": ["ficus"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "timezone": "browser",
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "links": [{**link, "asDropdown": False, "targetBlank": False, "includeVars": True, "keepTime": True}],
        "templating": {"list": [SOURCE, *variables]},
        "annotations": {"list": annotations},
        "panels": panels,
    }
