"""Writes the dashboards: `python3 dashboards/grafana/source`. With `--check` it writes nothing, and fails if one is old."""

import json
import pathlib
import sys

import capability
import cutover
import gateway
import overview
import sync

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "dashboards"


def main():
    made = {}
    for part in (overview, capability, sync, cutover, gateway):
        dashboard = part.make()
        made[FOLDER / f"{dashboard['uid']}.json"] = json.dumps(dashboard, indent=1, ensure_ascii=False) + "\n"
    if "--check" in sys.argv[1:]:
        old = [path.name for path, text in made.items() if not path.exists() or path.read_text("utf-8") != text]
        more = [path.name for path in FOLDER.glob("*.json") if path not in made]
        if old or more:
            sys.exit(f"not what the source makes: {', '.join(old + more)}; type `python3 dashboards/grafana/source`")
        return
    FOLDER.mkdir(exist_ok=True)
    for path, text in made.items():
        path.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
