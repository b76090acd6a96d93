"""Makes two pages: docs/reference.md of the JSON Schemas in docs/schema (`make reference` writes these first), with every section and key of ficus.toml, rules/NAME.toml and rules/flags.toml, and
docs/SUMMARY.md, the order of the book, of the pages that there are.

`python3 docs/make.py` writes them, with `--check` it says whether they are what it makes. What the schemas say is tested elsewhere.
"""

import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
FILES = (
    ("rules", "rules/NAME.toml", "One file for each capability. What the keys are for, with examples: [the rule language](rules.md)."),
    ("flags", "rules/flags.toml", "Feature flags, by name."),
    ("ficus", "ficus.toml", "The process; needs a restart. How it is run: [operations](operations.md)."),
)
HEAD = """# Every key

Made by `make reference`, of the JSON Schemas that `ficus schema` prints. Those of rule files are made of what their parser reads by:
change it there, in `rules/src/spec`. That of [`ficus.toml`](schema/ficus.schema.json) is written, and tests hold it to its parser. What
`ficus check` takes they take, what it refuses within a section they refuse, and what holds unless a key is set is tried for each. An editor that knows JSON Schema
completes and checks the files by them ([how](rules.md#editors)).

**Bold** keys must be there.
"""


class Schema:
    def __init__(self, whole):
        self.whole = whole
        # Tables that stand in several places, and where they are told.
        self.told = {}

    def own(self, node):
        """A node without its references: what it says itself wins."""
        merged = {}
        for part in node.get("allOf", []):
            merged |= self.own(part)
        if "$ref" in node:
            name = node["$ref"].rsplit("/", 1)[-1]
            merged |= self.own(self.whole["definitions"][name]) | {"called": name}
        return merged | {key: value for key, value in node.items() if key not in ("allOf", "$ref")}

    def kind(self, node):
        """What stands after the equals sign, in words."""
        node = self.own(node)
        if "called" in node and node["called"] in ("duration", "share", "address", "windows", "users", "name", "size"):
            return {"share": "percentage", "windows": "window, or a list", "users": "list of user ids"}.get(node["called"], node["called"])
        if "enum" in node:
            return ", ".join(f"`{json.dumps(value)}`" for value in node["enum"])
        if "const" in node:
            return f"`{json.dumps(node['const'])}`"
        for choice in ("oneOf", "anyOf"):
            if choice in node:
                kinds = list(dict.fromkeys(self.kind(one) for one in node[choice] if self.kind(one)))
                if kinds:
                    return " or ".join(kinds)
        names = node.get("type", [])
        names = [names] if isinstance(names, str) else names
        return " or ".join(self.one(name, node) for name in names)

    def one(self, name, node):
        if name == "array":
            return f"list of {self.kind(node.get('items', {})) or 'values'}"
        if name == "object":
            if len(node.get("properties", {})) == 1:
                return "{ " + ", ".join(node["properties"]) + " }"
            inner = node.get("additionalProperties")
            kind = self.kind(inner) if isinstance(inner, dict) else ""
            return f"table of {kind}" if kind and kind != "table" else "table"
        return {"boolean": "`true` or `false`", "integer": "whole number"}.get(name, name)

    def sections(self, node, place=""):
        """Every table with its keys, in the order of the schema: (heading, node)."""
        node = self.own(node)
        if node.get("called") in self.told:
            yield place, {"description": node.get("description"), "as": self.told[node["called"]]}
            return
        if "called" in node:
            self.told[node["called"]] = place
        if place:
            yield place, node
        # Below a list the path has no brackets of its own.
        above = f"{place.strip('[]')}." if place else ""
        for name, child in node.get("properties", {}).items():
            yield from self.below(self.own(child), above + name)
        if place:
            yield from self.named(node, place)

    def below(self, node, path):
        """The sections of one key."""
        if node.get("type") == "array" and "properties" in self.own(node.get("items", {})):
            yield from self.sections(self.own(node["items"]) | {"description": node.get("description")}, f"[{path}]")
        elif self.table(node):
            yield from self.sections(self.table(node), path)
        else:
            yield from self.named(node, path)

    def named(self, node, path):
        """The section under names that users choose."""
        more = node.get("additionalProperties")
        if isinstance(more, dict) and self.table(self.own(more)):
            yield from self.sections(self.table(self.own(more)), f"{path.strip('[]')}.NAME")

    def table(self, node):
        """The section that a node is, or may be beside something simpler."""
        if is_section(node):
            return node
        for choice in node.get("oneOf", []):
            choice = self.own(choice)
            if len(choice.get("properties", {})) > 1:
                return choice | {key: node[key] for key in ("description",) if key in node}
        return None


def is_section(node):
    inner = node.get("additionalProperties")
    return node.get("type") == "object" and ("properties" in node or isinstance(inner, dict) and "properties" in inner)


def cell(text):
    return " ".join(str(text).split()).replace("|", "\\|")


def table(schema, node):
    must = set(node.get("required", []))
    rows = []
    for name, child in node.get("properties", {}).items():
        inner = schema.own(child)
        if is_section(inner) or inner.get("type") == "array" and "properties" in schema.own(inner.get("items", {})):
            continue
        key = f"**`{name}`**" if name in must else f"`{name}`"
        default = f"`{json.dumps(inner['default'])}`" if "default" in inner else ""
        rows.append(f"| {key} | {cell(schema.kind(child))} | {cell(default)} | {cell(inner.get('description', ''))} |")
    return ["| key | takes | unless set | |", "|---|---|---|---|", *rows] if rows else []


def make():
    """The page of every key."""
    lines = [HEAD.strip()]
    for name, file, what in FILES:
        schema = Schema(json.loads((HERE / "schema" / f"{name}.schema.json").read_text(encoding="utf-8")))
        lines += ["", f"## {file}", "", what]
        for place, node in schema.sections(schema.whole):
            rows = table(schema, node)
            if "as" in node:
                rows = [f"The same keys as [{node['as']}]."]
            if rows:
                described = node.get("description")
                lines += ["", f"### [{place}]", "", *([described, ""] if described else []), *rows]
    return "\n".join(lines) + "\n"


# The order of the book. A page that is not named comes at the end of `Use`.
BOOK = (
    ("Begin", ("from-demo-to-your-monolith.md", "comparison.md")),
    ("Use", ("rules.md", "reference.md", "console.md")),
    ("Run", ("operations.md", "protocols.md", "security.md", "runbooks/README.md")),
    ("Understand", ("guarantees.md", "guards.md", "architecture.md")),
)


def summary():
    """The book's table of contents."""
    named = {page for _, pages in BOOK for page in pages} | {"README.md", "SUMMARY.md"}
    others = tuple(sorted(page.name for page in HERE.glob("*.md") if page.name not in named))
    lines = ["# Summary", "", entry("README.md").removeprefix("- ")]
    for part, pages in BOOK:
        lines += ["", f"# {part}", ""]
        for page in pages + (others if part == "Use" else ()):
            lines.append(entry(page))
            if page == "runbooks/README.md":
                lines += [f"  {entry(f'runbooks/{one.name}')}" for one in sorted(HERE.glob("runbooks/*.md")) if one.name != "README.md"]
    return "\n".join(lines) + "\n"


def entry(page):
    """A page by its first heading; of one that does not exist the test of the links tells."""
    path = HERE / page
    heading = path.read_text(encoding="utf-8").split("\n", 1)[0].lstrip("# ").strip() if path.exists() else page
    return f"- [{heading}]({page})"


def main():
    # The summary names the reference by its heading: it is written first.
    for name, made in (("reference.md", make), ("SUMMARY.md", summary)):
        page = HERE / name
        if sys.argv[1:] == ["--check"]:
            if not page.exists() or page.read_text(encoding="utf-8") != made():
                sys.exit(f"docs/{name} is not what is made of the schemas and pages: type `python3 docs/make.py`")
        else:
            page.write_text(made(), encoding="utf-8")


if __name__ == "__main__":
    main()
