"""What a screen reader is given: Chromium's own accessibility tree, as the DevTools protocol tells it."""

#: Roles of what people work with.
CONTROLS = {"button", "link", "textbox", "searchbox", "combobox", "listbox", "checkbox", "radio", "switch", "slider", "spinbutton", "tab", "menuitem", "DisclosureTriangle"}
#: What has to say what it shows.
SHOWN = {"image", "img", "region", "dialog", "alertdialog", "navigation"}


def readable(page, where):
    """Every control and picture has a name, headings follow each other, tables have header cells, and what happens is said aloud."""
    session = page.context.new_cdp_session(page)
    try:
        nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    finally:
        session.detach()
    tree = {node["nodeId"]: node for node in nodes}
    told = [node for node in nodes if not node.get("ignored")]
    role = lambda node: node.get("role", {}).get("value", "")
    name = lambda node: node.get("name", {}).get("value", "").strip()
    has = lambda node, what: next((one["value"].get("value") for one in node.get("properties", []) if one["name"] == what), None)

    nameless = [f"{role(node)} {node.get('backendDOMNodeId')}" for node in told if role(node) in CONTROLS | SHOWN and not name(node)]
    assert not nameless, f"{where}: without a name: {nameless}"

    dialog = [node for node in told if role(node) == "dialog"]
    levels = [has(node, "level") for node in told if role(node) == "heading"]
    assert levels and levels[0] == (2 if dialog else 1), f"{where}: the headings begin with level {levels[:1]}"
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:])), f"{where}: headings leave a level out: {levels}"

    def below(node):
        for child in (tree[one] for one in node.get("childIds", []) if one in tree):
            yield child
            yield from below(child)

    for table in (node for node in told if role(node) in ("table", "grid")):
        inside = [role(node) for node in below(table)]
        assert {"columnheader", "rowheader"} <= set(inside), f"{where}: a table without header cells: {sorted(set(inside))}"

    if dialog:
        assert all(has(node, "modal") for node in dialog), f"{where}: what lies behind the dialog can be read"
        assert any(has(node, "live") == "assertive" for node in told) or page.locator("dialog [role=alert]").count() == 1, f"{where}: a refusal is not said aloud"
    else:
        assert page.evaluate("getComputedStyle(document.getElementById('said')).display") != "none", f"{where}: what happens is said in a place that is not there yet"
        assert {"main", "banner", "contentinfo"} <= {role(node) for node in told}, f"{where}: landmarks are missing"
    return told
