"""The few accuracies that the lecture is about, in groups: as published, and as this project measured them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import pandas as pd

from spatial_viz.evaluation.results import OTHER_WEIGHTS, SOURCES, best_known
from spatial_viz.models.cards import ModelCard
from spatial_viz.models.registry import without_mirrors
from spatial_viz.transforms.grids import TransformGrid

DATA = {"cifar10": "CIFAR-10", "imagenet": "ImageNet", "mnist": "MNIST"}
TRAINED = {
    "standard": "standard", "no-crop": "no crops", "augment-30": "random turns", "augment-40": "random turns, ±40°",
    "worst-of-10-30": "worst of ten", "worst-of-10-40": "worst of ten, ±40°", "invariant-30": "invariance",
    "linf-8": "noise (ℓ∞)",
}  # fmt: skip
"""What a recipe is called in a few words."""
ROBUST = ("worst-of-10-30", "worst-of-10-40")  # the paper's best; the first that is there counts
INVARIANT = "invariant-30"
BETWEEN_THE_POINTS = (
    "of 200 CIFAR-10 test pictures the grid leaves 33 unbroken for cifar10/standard, and 4 of these break between its "
    "points"
)
"""What `python -m benchmarks.attacks` found (docs/method.md, How they compare)."""
PAPER = {"standard": "standard", "worst-of-10": "worst of ten"}  # the trainings of its classifiers


@dataclass(frozen=True)
class Bar:
    """One accuracy, from 0 to 1, of a ``training`` (or of a number of answers) under an ``adversary``, natural or grid.

    ``low`` and ``high``: the 95 % Wilson interval, and ``pictures`` how many it is from; None for published figures,
    which do not say.
    """

    training: str
    adversary: str
    share: float
    pictures: int | None = None
    low: float | None = None
    high: float | None = None

    @property
    def kind(self) -> str:
        return "as it is" if self.adversary == "natural" else "worst case"

    @property
    def words(self) -> str:
        """``"standard: worst case"``."""
        return f"{self.training}: {self.kind}"


@dataclass(frozen=True)
class Group:
    """Accuracies to be seen together. ``about``: where they come from, or how they were measured."""

    title: str
    published: bool
    bars: tuple[Bar, ...]
    about: str


def measured(results: pd.DataFrame) -> pd.DataFrame:
    """Those rows of `spatial_viz.evaluation.results.all_results` that complete runs measured with the paper's grid and
    black padding, with the weights that ship where any do; of several answers to one question the one from most
    pictures."""
    table = results[(results["source"] != SOURCES[2]) & (results["padding"] == "black") & results["complete"]]
    table = table[~table["classifier"].str.endswith(OTHER_WEIGHTS)]
    paper = ",".join(map(str, TransformGrid().granularity))
    table = table[table["grid"].str.startswith(f"{paper} within ±{TransformGrid().rotation:g}°")]
    known = best_known(table)
    # A data set may be there under several names, and with several limits: the most pictures count.
    return known.sort_values("n", ascending=False, kind="stable").drop_duplicates(["classifier", "adversary", "vote"])


def groups(results: pd.DataFrame, cards: Sequence[ModelCard]) -> tuple[Group, ...]:
    """The groups of the lecture's numbers, published before measured; those of which nothing is known are left out.

    Parameters
    ----------
    results: the table of `spatial_viz.evaluation.results.all_results`.
    cards: of `spatial_viz.models.registry.manifest`.
    """
    every = [published_group(results, data) for data in ("cifar10", "imagenet")]
    known = measured(results)
    every += [measured_group(known, cards, data) for data in DATA]
    return tuple(group for group in every if group.bars)


def published_group(results: pd.DataFrame, data: str) -> Group:
    """The paper's own: standard as it is, standard in the worst case, robust in the worst case."""
    rows = _paper(results, data)
    rows = rows[rows["vote"] == 0]
    bars = []
    for training, adversary in (("standard", "natural"), ("standard", "grid"), ("worst-of-10", "grid")):
        matching = rows[rows["classifier"].str.endswith(training) & (rows["adversary"] == adversary)]
        bars += [Bar(PAPER[training], adversary, float(share)) for share in matching["accuracy"].head(1)]
    return Group(f"{DATA[data]}, published", True, tuple(bars), _cited(rows))


def measured_group(known: pd.DataFrame, cards: Sequence[ModelCard], data: str) -> Group:
    """The same three of this project, and the one with the invariance term; ``known`` as `measured` gives it. Of
    ImageNet, for which nobody trained here, the first two of a classifier of torchvision's."""
    names = {card.recipe: card.name for card in without_mirrors(cards) if card.data == data}
    title = f"{DATA[data]}, measured"
    if not names:
        theirs = next((name for name in known["classifier"] if name.startswith(f"{data}/")), "")
        names, title = {"standard": theirs}, f"{title} with {theirs.split('/')[-1]}"
    robust = next((recipe for recipe in ROBUST if recipe in names), "")
    wanted = [("standard", "natural"), ("standard", "grid"), (robust, "grid"), (INVARIANT, "grid")]
    return _measured_as(title, [
        bar for recipe, adversary in wanted if recipe in names
        for bar in _bars(known, names[recipe], adversary, TRAINED[recipe])
    ])  # fmt: skip


def vote_groups(results: pd.DataFrame, names: Collection[str] | None = None) -> tuple[Group, ...]:
    """The worst case without and with a majority vote: as published, and for each classifier (of those with these
    ``names``) of which both were measured."""
    paper = _paper(results, "imagenet")
    paper = paper[(paper["adversary"] == "grid") & paper["classifier"].str.endswith("worst-of-10")]
    bars = [Bar(_voters(int(row["vote"])), "grid", float(row["accuracy"]))
            for row in paper.sort_values("vote").to_dict("records")]  # fmt: skip
    every = [Group(f"{DATA['imagenet']}, published", True, tuple(bars), _cited(paper))]
    known = measured(results)
    grid = known[known["adversary"] == "grid"]
    grid = grid if names is None else grid[grid["classifier"].isin(names)]
    for name, votes in grid.groupby("classifier", sort=False)["vote"]:
        every.append(_measured_as(f"{name}, measured", [
            bar for vote in sorted(votes) for bar in _bars(known, name, "grid", _voters(vote), vote)
        ]))  # fmt: skip
    return tuple(group for group in every if len(group.bars) > 1)


def recipe_group(known: pd.DataFrame, name: str, recipe: str) -> Group:
    """One classifier, trained by a recipe, as it is and in the worst case."""
    training = describe_training(recipe)
    return _measured_as(f"{name}, measured", [
        bar for adversary in ("natural", "grid") for bar in _bars(known, name, adversary, training)
    ])  # fmt: skip


def describe_training(recipe: str) -> str:
    """A recipe in a few words.

    >>> describe_training("worst-of-10-30"), describe_training("of-my-own")
    ('worst of ten', 'of-my-own')
    """
    return TRAINED.get(recipe, recipe)


def _paper(results: pd.DataFrame, data: str) -> pd.DataFrame:
    """The rows of the paper's own classifiers."""
    return results[(results["source"] == SOURCES[2]) & (results["data"] == data)
                   & results["classifier"].str.startswith("paper's")]  # fmt: skip


def _bars(known: pd.DataFrame, name: str, adversary: str, training: str, vote: int = 0) -> list[Bar]:
    """The bar of one accuracy; none where it is not known."""
    rows = known[(known["classifier"] == name) & (known["adversary"] == adversary) & (known["vote"] == vote)]
    return [Bar(training, adversary, float(row["accuracy"]), int(row["n"]), float(row["low"]), float(row["high"]))
            for row in rows.head(1).to_dict("records")]  # fmt: skip


def _measured_as(title: str, bars: Sequence[Bar]) -> Group:
    """``about`` says how many pictures each accuracy is from, in the fewest words that tell them apart."""
    ways: tuple[Callable[[Bar], str], ...] = (lambda bar: bar.kind, lambda bar: bar.training, lambda bar: bar.words)
    for way in ways:
        counts = {(way(bar), bar.pictures or 0): None for bar in bars}  # in this order, each once
        if len({name for name, _ in counts}) == len(counts):  # one number of pictures for each name
            break
    sizes = dict.fromkeys(count for _, count in counts)
    described = ", ".join(
        f"{size:,}" + (f" ({', '.join(name for name, count in counts if count == size)})" if len(sizes) > 1 else "")
        for size in sizes
    )
    return Group(title, False, tuple(bars), f"test pictures: {described}")


def _voters(vote: int) -> str:
    return f"vote of {vote}" if vote else "one answer"


def _cited(rows: pd.DataFrame) -> str:
    return " and ".join(dict.fromkeys(rows["citation"]))
