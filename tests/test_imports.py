"""Imports go one way, Streamlit stays in the app, and importing is quick."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

PACKAGE = ROOT / "spatial_viz"
# A module imports only what stands above it.
ORDER = """
    version errors parsing files sharing memory intervals geometry grids images samples datasets networks
    fingerprint outputs cards classifiers
    training.recipes losses bounds relief landscape devices accelerate runner sweeps
    queries attacks
    defences noise cache refining captions figure_style slices drawing surfaces side_by_side figures attack_figures
    compare_figures
    evaluation.plan evaluation.pictures evaluation.ballots evaluation.exact evaluation.shards evaluation.work
    evaluation.store evaluation.report evaluation.cluster evaluation.run
    evaluation.summary evaluation.published evaluation.milestones evaluation.finding result_figures browse_figures
    norms search_figures lecture_figures hunting
    frames animation sheets handout explorer.payload explorer.sources exports demo
    lecture_commands training_figures
    training.disk training.metrics training.hardware training.data training.adversaries
    training.distributed training.checkpoints training.steps training.loop training.history training.publish
    training.commands cli __main__ explorer.component
    pages.address pages.choosing pages.posing pages.taking pages.explore pages.attack
    pages.contestants pages.compare
    pages.opening pages.results pages.browse
    pages.talk.step pages.talk.numbers pages.talk.panes pages.talk.noise pages.talk.turning pages.talk.searching
    pages.talk.robust pages.talk.beyond pages.lecture
""".split()  # noqa: SIM905
STREAMLIT = {name for name in ORDER if name == "explorer.component" or name.startswith("pages.")}
MODULES = sorted(
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    for path in PACKAGE.rglob("*.py")
    if path.name != "__init__.py"
)


def imported(module: str) -> set[str]:
    tree = ast.parse((PACKAGE / Path(*module.split("."))).with_suffix(".py").read_text())
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_every_module_has_its_place() -> None:
    assert sorted(ORDER) == MODULES


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_one_way(module: str) -> None:
    above = ORDER[: ORDER.index(module)]
    for name in imported(module):
        if name.split(".")[0] != "spatial_viz":
            continue
        inner = name.removeprefix("spatial_viz.")
        known = [other for other in ORDER if inner == other or inner.startswith(other + ".")]
        assert known, f"{module} imports {name}, which is the package root or no module of it"
        assert all(other in above for other in known), f"{module} imports {inner}, which stands below it"


@pytest.mark.parametrize("module", MODULES)
def test_only_the_app_imports_streamlit(module: str) -> None:
    assert module in STREAMLIT or not any(name.split(".")[0] == "streamlit" for name in imported(module))


def test_help_does_not_wait_for_torch() -> None:
    code = "import sys, spatial_viz.cli.main; sys.exit('torch' in sys.modules or 'xarray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
