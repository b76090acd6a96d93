"""For mdbook: a link that leads out of docs becomes the path in the repository that it leads to. Reads a book on standard input, writes it
on standard output, as preprocessors of mdbook do.
"""

import json
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
LINK = re.compile(r"\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^()\s#]+)(#[^()\s]*)?\)")


def told(page, link):
    """A link as the book has it."""
    words, path, _ = link.groups()
    target = (HERE / page).parent.joinpath(path).resolve()
    if "://" in path or (target.is_file() and target.is_relative_to(HERE)):
        return link[0]
    where = target.relative_to(HERE.parent).as_posix()
    return words if where in words else f"{words} (`{where}`)"


def tell(items):
    for chapter in (item["Chapter"] for item in items if isinstance(item, dict) and "Chapter" in item):
        page = chapter["path"]
        if page:
            chapter["content"] = LINK.sub(lambda link: told(page, link), chapter["content"])
        tell(chapter["sub_items"])


def main():
    if sys.argv[1:2] == ["supports"]:
        return
    _, book = json.load(sys.stdin)
    tell(book.get("sections") or book["items"])
    json.dump(book, sys.stdout)


if __name__ == "__main__":
    main()
