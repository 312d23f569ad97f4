"""``python -m spatial_viz sweep | attack | evaluate | train | publish | demo | handout | models | samples``.

Results go to stdout, progress and errors to stderr. Bad arguments end with exit code 2 and one sentence.
"""

from __future__ import annotations

import io
import sys
import warnings
from typing import Annotated, Any

import typer

from spatial_viz.cli import evaluation, lecture, picture, training
from spatial_viz.cli.parsing import (
    print_json,
)
from spatial_viz.errors import SpatialVizError, SpatialVizWarning

# Torch takes seconds to import, so the commands import what they need: help and bad arguments answer at once.

app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.callback()
def root_options() -> None:
    """How far can an image classifier be trusted when the picture is merely rotated and shifted?"""


app.command()(picture.sweep)
app.command()(picture.attack)
app.command()(evaluation.evaluate)
app.command()(training.train)
app.command()(training.publish)
app.command()(lecture.demo)
app.command()(lecture.handout)


@app.command()
def models(as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """List the classifiers, and whether their weights are on this machine."""
    from spatial_viz.models.registry import catalogue

    entries = catalogue()
    if as_json:
        facts = [entry.card.to_json() if entry.card else {"parameters": entry.parameters} for entry in entries]
        print_json([{"name": entry.name, "available": entry.available, **more}
                    for entry, more in zip(entries, facts, strict=True)])  # fmt: skip
        return
    for entry in entries:
        words = entry.missing or "weights on this machine"
        if entry.card:
            known = {key: entry.card.accuracies[key] for key in ("natural", "random", "worst_of_10", "grid")}
            parts = (f"{key.replace('_', '-')} {each.accuracy:.1%} of {each.pictures:,}" for key, each in known.items())
            words = f"{', '.join(parts)} pictures"
        print(f"{entry.name:28} {words}")


@app.command()
def samples(as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """List the labelled pictures that are at hand without a network."""
    from spatial_viz.data.samples import class_names
    from spatial_viz.data.samples import samples as listed

    rows = [
        {"name": f"sample:{entry.name}", "label": entry.label, "class": class_names(entry.dataset)[entry.label]}
        for entry in listed()
    ]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        print(f"{row['name']:22} {row['label']:>4}  {row['class']}")


def main() -> None:
    """The entry point: every foreseen error is one sentence on stderr and exit code 2."""
    _prepare_console()
    try:
        sys.exit(typer.main.get_command(app).main(sys.argv[1:] or ["--help"], standalone_mode=False) or 0)
    except SpatialVizError as error:
        _fail(str(error))
    except (typer.Abort, KeyboardInterrupt):
        print("stopped", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        # Typer's own complaints about the arguments have this method, and no public base class.
        if not hasattr(error, "format_message"):
            raise
        _fail(error.format_message())


def _prepare_console() -> None:
    """Once, before any work: names that the console's encoding lacks are escaped, warnings are one sentence each, and
    Pillow's remarks about odd metadata are no business of whoever measures a classifier."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    shown = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *where: Any) -> None:
        if issubclass(category, SpatialVizWarning):
            print(f"warning: {message}", file=sys.stderr)
        else:
            shown(message, category, *where)

    warnings.showwarning = show  # type: ignore[assignment]
    warnings.filterwarnings("ignore", module=r"PIL\.")


def _fail(message: str) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
