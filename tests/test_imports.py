"""Imports go one way, Streamlit stays in the app, and importing is quick."""

from __future__ import annotations

import ast
import graphlib
import importlib
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from benchmarks.app import ROOT
from scripts.draw_architecture import parsed

PACKAGE = ROOT / "spatial_viz"
# A package imports only what stands above it.
ORDER = (
    "errors", "fields", "files", "version", "data", "transforms", "models", "defences", "landscape", "attacks",
    "evaluation", "figures", "explorer", "export", "training", "lecture", "app", "cli", "__main__",
)  # fmt: skip
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.name != "__init__.py"
}
PACKAGES = sorted(name for name in ORDER if (PACKAGE / name).is_dir())


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """Every import of a file, those within functions, too, as (module, name)."""
    for node in ast.walk(parsed(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from ((str(node.module), alias.name) for alias in node.names)


@cache
def inner(module: str) -> dict[str, list[str]]:
    """The modules of the package that a module imports, and which of their names."""
    found: dict[str, list[str]] = {}
    for source, name in imports(MODULES[module]):
        if source.split(".")[0] != "spatial_viz":
            continue
        places = (f"{source}.{name}".removeprefix("spatial_viz."), source.removeprefix("spatial_viz."))
        known = [place for place in places if place in MODULES]
        assert known, f"{module} imports {name} from {source}, which is a package and no module"
        found.setdefault(known[0], []).append("" if known[0] == places[0] else name)
    return found


def package(module: str) -> str:
    return module.split(".")[0]


def test_every_package_has_its_place() -> None:
    assert {package(module) for module in MODULES} == set(ORDER)


@pytest.mark.parametrize("module", MODULES)
def test_packages_import_one_way(module: str) -> None:
    place = ORDER.index(package(module))
    below = [other for other in inner(module) if ORDER.index(package(other)) > place]
    assert not below, f"{module} imports {below}, which stand below it"


def test_modules_import_in_no_circle() -> None:
    graphlib.TopologicalSorter({module: inner(module) for module in MODULES}).prepare()


@pytest.mark.parametrize("module", MODULES)
def test_private_names_stay_in_their_module(module: str) -> None:
    private = [name for names in inner(module).values() for name in names if name.startswith("_")]
    modules = {other.rpartition(".")[2] for other, names in inner(module).items() if "" in names}
    for node in ast.walk(parsed(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            private += [node.attr] if node.attr.startswith("_") else []
    assert not private, f"{module} takes {private}"


@pytest.mark.parametrize("module", MODULES)
def test_only_the_app_imports_streamlit(module: str) -> None:
    sources = {source.split(".")[0] for source, _ in imports(MODULES[module])}
    assert package(module) == "app" or "streamlit" not in sources


@pytest.mark.parametrize("name", ["", *PACKAGES])
def test_a_package_gives_the_names_that_it_lists(name: str) -> None:
    listed = importlib.import_module(f"spatial_viz.{name}".rstrip("."))
    assert listed.__doc__
    for public in getattr(listed, "__all__", ()):
        assert not (PACKAGE / name / f"{public}.py").exists(), f"{public} is a module, too"
        assert getattr(listed, public) is not None


def test_help_does_not_wait_for_torch() -> None:
    code = "import sys, spatial_viz.cli.main; sys.exit('torch' in sys.modules or 'xarray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


@pytest.mark.parametrize(
    "path", sorted([*ROOT.glob("benchmarks/*.py"), *ROOT.glob("scripts/*.py")]), ids=lambda path: path.stem
)
def test_what_stands_beside_the_package_still_fits_it(path: Path) -> None:
    importlib.import_module(f"{path.parent.name}.{path.stem}")
