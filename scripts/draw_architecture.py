"""`make architecture` writes the picture and the table of docs/architecture.md from the imports of the package."""

from __future__ import annotations

import ast
import gc
import re
import sys
from functools import cache

from benchmarks.app import ROOT
from spatial_viz.files import write_file

PACKAGE = ROOT / "spatial_viz"
PAGE = ROOT / "docs" / "architecture.md"
FLOOR = ("errors", "fields", "files", "version")
"""Modules that every package may import: no arrows are drawn to them."""


def main() -> None:
    text = document(PAGE.read_text(encoding="utf-8"))
    write_file(PAGE, lambda path: path.write_text(text, encoding="utf-8"))
    print(f"wrote {PAGE.relative_to(ROOT)}", file=sys.stderr)


def document(page: str) -> str:
    """The page with both generated parts as the package is now."""
    for name, part in (("picture", picture()), ("table", table())):
        begin, end = f"<!-- {name}: made by make architecture -->", f"<!-- end of {name} -->"
        page = re.sub(f"{begin}.*?{end}", lambda _: f"{begin}\n{part}\n{end}", page, flags=re.DOTALL)  # noqa: B023
    return page


@cache
def parsed(text: str) -> ast.Module:
    """The syntax tree of a module.

    The garbage collector waits: Python 3.11 counts the depth of a tree for the whole process, so what the collector, or
    another thread that it lets in, parses meanwhile breaks this one (CPython issue 106905).
    """
    gc.disable()
    try:
        return ast.parse(text)
    finally:
        gc.enable()


def packages() -> list[str]:
    return sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))


def arrows() -> dict[str, set[str]]:
    """Which packages every package imports, those within functions, too."""
    result: dict[str, set[str]] = {name: set() for name in packages()}
    for name in result:
        for path in (PACKAGE / name).rglob("*.py"):
            for node in ast.walk(parsed(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and str(node.module).startswith("spatial_viz."):
                    result[name].add(str(node.module).split(".")[1])
        result[name] -= {name, *FLOOR}
    return result


def reach(graph: dict[str, set[str]], start: str) -> set[str]:
    """All that can be reached from ``start``."""
    seen: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        if (name := waiting.pop()) not in seen:
            seen.add(name)
            waiting += graph[name]
    return seen


def needed(graph: dict[str, set[str]]) -> list[tuple[str, str]]:
    """The arrows that no longer way says, too (the transitive reduction)."""
    return [
        (name, other)
        for name, others in graph.items()
        for other in sorted(others)
        if not any(other in reach(graph, between) for between in others - {other})
    ]


def floors(graph: dict[str, set[str]]) -> list[list[str]]:
    """Packages by the longest way down from them."""

    def height(name: str) -> int:
        return 1 + max((height(other) for other in graph[name]), default=0)

    heights = {name: height(name) for name in graph}
    return [[name for name in graph if heights[name] == level] for level in range(1, 1 + max(heights.values()))]


def picture() -> str:
    graph = arrows()
    lines = [f"    {name} --> {other}" for name, other in needed(graph)]
    return "\n".join(["```mermaid", "graph BT", *lines, "```"])


def table() -> str:
    graph = arrows()
    rows = ["| package | what is in it | modules |", "|---|---|---:|"]
    for level in floors(graph):
        for name in level:
            files = sorted((PACKAGE / name).rglob("*.py"))
            job = str(ast.get_docstring(parsed((PACKAGE / name / "__init__.py").read_text(encoding="utf-8"))))
            modules = sum(path.name != "__init__.py" for path in files)
            rows.append(f"| `{name}` | {job.splitlines()[0]} | {modules} |")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
