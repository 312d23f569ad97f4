"""Steps 13 to 16 of the lecture: a vote, noise against turns, what still breaks, and what to take home."""

from __future__ import annotations

import dataclasses
import html
from collections import Counter
from dataclasses import dataclass

import streamlit as st
import torch
from torch import Tensor

from spatial_viz.app.downloads import handout_button, left_out
from spatial_viz.app.lecture.accuracies import bars, results
from spatial_viz.app.lecture.explorers import Side, compared
from spatial_viz.app.lecture.step import (
    Step,
    Talk,
    data_of,
    kept,
    landscape_of,
    missing,
    of_sample,
    partner,
    pictures,
    talk_label,
    under,
)
from spatial_viz.app.lecture.training_steps import ROBUST, STANDARD
from spatial_viz.app.pose import linked_pose
from spatial_viz.app.url_state import parameters as parameters_of_view
from spatial_viz.app.widgets import plain
from spatial_viz.data.samples import SAMPLE_DATASETS, class_names, opening_sample
from spatial_viz.defences.majority_vote import MajorityVote
from spatial_viz.figures.text import percent
from spatial_viz.landscape.dataset import worst_case
from spatial_viz.lecture.hardest_sample import find_failing_sample
from spatial_viz.lecture.headline_accuracies import DATA, measured, published_group, recipe_group, vote_groups
from spatial_viz.lecture.links import own_address, qr_code, reachable, with_parameters
from spatial_viz.models.inference import exact_logits
from spatial_viz.models.registry import dataset_of, manifest
from spatial_viz.training.recipes import find_recipe
from spatial_viz.transforms.geometry import warp
from spatial_viz.transforms.grids import TransformGrid
from spatial_viz.transforms.transform import Transform

NOISE = "linf-8"  # the recipe of the classifier that was trained against noise
VOTES = 10


# --- Ask ten times --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ballots:
    """What ten voters see and say, and what is answered alone and by the vote."""

    pictures: Tensor
    votes: list[int]
    alone: int
    sure: float
    voted: int


def _ballots(talk: Talk, pose: Transform, seed: int) -> Ballots:
    view = talk.view

    def ask() -> Ballots:
        at = pose.tensor()
        image = warp(view.image[None], at, view.padding)
        vote = MajorityVote(view.classifier, view.grid, VOTES, seed, padding=view.padding)
        transforms, probabilities = vote.ballots(image)
        alone = exact_logits(view.classifier, view.image, at, padding=view.padding).softmax(1)[0]
        with torch.inference_mode():
            voted = int(vote.logits(image).argmax())
        return Ballots(warp(image, transforms[0], view.padding), probabilities[0].argmax(1).tolist(),
                       int(alone.argmax()), float(alone.max()), voted)  # fmt: skip

    return kept(talk, ("ballots", pose, seed), ask)


def _worst_pose(talk: Talk) -> Transform:
    return worst_case(landscape_of(talk)).transform


def _poses(talk: Talk) -> dict[str, Transform]:
    poses = {"the worst case": _worst_pose(talk), "the picture as it is": Transform()}
    linked = linked_pose(talk.view.grid)
    if linked and any(linked):
        poses["the pose of the talk"] = linked
    return poses


def _ask_ten_times(talk: Talk) -> None:
    poses, state, names = _poses(talk), st.session_state, talk.view.classifier.class_names
    left, right = st.columns([3, 2], gap="medium")
    with left:
        with st.container(horizontal=True, vertical_alignment="center"):
            chosen = st.segmented_control("Ask about", list(poses), default="the worst case", required=True,
                                          key="ask_about", label_visibility="collapsed")  # fmt: skip
            if st.button("Draw again", icon=":material/casino:", key="draw-voters"):
                state["voters_seed"] = state.get("voters_seed", 0) + 1
        pose = poses.get(chosen or "", poses["the worst case"])
        ballots, label = _ballots(talk, pose, state.get("voters_seed", 0)), talk_label(talk)
        shown = [(picture, f"{'✓' if predicted == label else '✕'} {names[predicted]}", "")
                 for picture, predicted in zip(ballots.pictures, ballots.votes, strict=True)]  # fmt: skip
        for first in (0, VOTES // 2):
            pictures(talk, shown[first : first + VOTES // 2])
    with right:
        tally = ", ".join(f"{count} × {names[predicted]}" for predicted, count in Counter(ballots.votes).most_common())
        st.markdown(
            f"The picture, {plain(pose.describe())}:  \n"
            f"asked once: **{_verdict(ballots.alone, label, names)}** ({percent(ballots.sure)})  \n"
            f"asked ten times: **{_verdict(ballots.voted, label, names)}** ({plain(tally)})"
        )
        theirs, *ours = vote_groups(results())
        ours.sort(key=lambda group: not group.title.startswith(f"{talk.view.classifier.name},"))  # the talk's own first
        for number, group in enumerate([theirs, *ours[:1]]):
            bars(talk, group, f"vote-{number}", rows=2, height=170 if talk.full_screen else 130)
        if not ours:
            missing("This project has not measured a vote over a data set yet; `evaluate --vote 10` does.")


def _verdict(predicted: int, label: int, names: tuple[str, ...]) -> str:
    return f"{'✓' if predicted == label else '✕'} {plain(names[predicted])}"


def _warm_ballots(talk: Talk) -> None:
    _ballots(talk, _worst_pose(talk), 0)
    talk_label(talk)
    results()


# --- Intuitions do not transfer -------------------------------------------------------------------------------------


def _transfer(talk: Talk) -> None:
    names = _with_and_without_noise(talk)
    if not names:
        missing(f"No classifier that was trained against ℓ∞ noise is shipped; `train --recipe {NOISE}` makes one.")
        st.markdown(FINDING)
        return
    data = dataset_of(names["noise"])
    if data == data_of(talk):
        compared({f"{title}: {name}": under(talk, name) for title, name in names.items()}, "transfer")
    else:
        st.caption(f"No shipped classifier for these pictures was trained on noise, one for {DATA[data]} was (at most "
                   f"{find_recipe(NOISE, data).epsilon:.2g} a pixel): a sample, with limits of its own.")  # fmt: skip
        other = {f"{title}: {name}": _borrowed(talk, name) for title, name in names.items()}
        compared(other, "transfer", lambda _: Transform(), shared=False)
    known, accuracies = measured(results()), []
    for card in manifest():
        if card.name in names.values():
            group = recipe_group(known, card.name, card.recipe)
            accuracies += [f"{bar.words} {bar.share:.1%} of {bar.pictures:,}" for bar in group.bars]
    if accuracies:
        st.caption(plain(f"Right on test pictures: {'; '.join(accuracies)}."))


FINDING = (
    "**What was found:** training against ℓ∞ noise does not make a classifier robust to turns and shifts. Later work "
    "found a trade-off: the larger the noise that a classifier was trained against, the less it stands of these."
)


def _with_and_without_noise(talk: Talk) -> dict[str, str]:
    """The standard classifier and the one that was trained against noise: those for the talk's pictures, else those of
    the first data set that has both; empty where there is none."""
    for data in dict.fromkeys((data_of(talk), *SAMPLE_DATASETS)):
        standard, noise = partner(talk, STANDARD, data), partner(talk, NOISE, data)
        if standard is not None and noise is not None:
            return {"standard": standard, "noise": noise}
    return {}


def _borrowed(talk: Talk, name: str) -> Talk:
    """The talk under a classifier of another data set, about a sample of that, within the paper's limits for it."""
    other = of_sample(under(talk, name), opening_sample(dataset_of(name)))
    grid = TransformGrid.paper(other.view.classifier.input_size)
    return dataclasses.replace(other, view=dataclasses.replace(other.view, grid=grid))


def _warm_transfer(talk: Talk) -> None:
    for name in _with_and_without_noise(talk).values():
        landscape_of(under(talk, name) if dataset_of(name) == data_of(talk) else _borrowed(talk, name))
    results()


# --- Room for improvement -------------------------------------------------------------------------------------------


def _yours(talk: Talk) -> Talk:
    """The talk under the robust classifier for its pictures; under its own where none is shipped."""
    name = partner(talk, ROBUST)
    return talk if name is None else under(talk, name)


def _found(yours: Talk) -> tuple[str, Talk] | None:
    """A sample that is not the talk's picture and that breaks its classifier, with a title; None where all survive."""
    view, dataset = yours.view, data_of(yours)
    sample = kept(yours, "hunt", lambda: find_failing_sample(
        view.classifier, dataset, view.grid, view.padding, yours.progress, view.image))  # fmt: skip
    if sample is None:
        return None
    return f"found: {class_names(dataset)[sample.label]} ({sample.name})", of_sample(yours, sample)


def _hunt(talk: Talk) -> None:
    yours = _yours(talk)
    name = yours.view.classifier.name
    if partner(talk, ROBUST) is None:
        missing(f"No robust classifier is shipped for these pictures; the hunt is for what breaks {plain(name)}.")
    failing, title = _found(yours), f"yours: {talk.view.title}"
    if failing is None:
        st.markdown("Every sample that is right as it is survives the whole grid: the hunt is all yours.")
        compared({title: yours}, "hunt")
    else:
        compared(dict([failing, (title, yours)]), "hunt", _at_worst)


def _at_worst(side: Side) -> Transform:
    return worst_case(side.landscape).transform


def _warm_hunt(talk: Talk) -> None:
    yours = _yours(talk)
    landscape_of(yours)
    failing = _found(yours)
    if failing is not None:
        landscape_of(failing[1])


# --- What to take home ----------------------------------------------------------------------------------------------


def _sentences() -> tuple[str, str, str]:
    """What to take home, in HTML; how much is left to do is that of the paper's robust classifiers."""
    left = []
    for data in ("cifar10", "imagenet"):
        robust = published_group(results(), data).bars[-1]
        left.append(f"{percent(1 - robust.share)} of {DATA[data]}")
    return (
        "Robust models need <b>more refined notions of similarity</b> than small ℓp distances.",
        "We <b>do not have true spatial robustness</b> yet: in the worst case the paper's best is wrong on "
        f"{' and '.join(left)}.",
        "<b>Intuitions from ℓp robustness do not transfer</b>: gradients get lost, noise training does not help.",
    )


def _take_home(talk: Talk) -> None:
    link = _link()
    left, right = st.columns([3, 2], gap="large") if link else (st.container(), None)
    items = "".join(f"<li style='margin-bottom: 0.8em'>{sentence}</li>" for sentence in _sentences())
    left.html(f"<ol style='margin: 0; padding-left: 1.2em; font-size: 1.5rem; line-height: 1.4'>{items}</ol>")
    if right is not None:
        with right:
            _code(link)
    with left:
        handout_button(talk.view, link)


def _link() -> str:
    """The link to this state for whoever can reach the app; "" where nobody else can."""
    url = st.context.url or "http://localhost:8501/lecture"
    address = reachable(url, st.get_option("server.address"), own_address())
    return "" if address is None else with_parameters(address, _parameters())


def _code(link: str) -> None:
    """A link that opens exactly this state, with its QR code."""
    if left_out():
        st.caption(left_out())
    st.html(
        f"<img src='{qr_code(link)}' alt='{html.escape(f'QR code of the link {link}', quote=True)}' "
        "style='display: block; width: min(100%, 56vh); image-rendering: pixelated'>"
    )
    st.markdown(f"[Exactly this state]({link}): picture, classifier, limits, pose and step.")
    st.code(link, language=None, wrap_lines=True)


def _parameters() -> dict[str, str | list[str]]:
    """What a link says: picture, classifier, limits, pose and step, and not how large the lecture is shown."""
    return {name: value for name, value in parameters_of_view().items() if name != "full"}


STEPS = (
    Step(
        title="Ask ten times",
        text=(
            "A **majority vote**: the classifier looks at ten random turns and shifts of what it is shown, and the "
            "class that most of the ten are taken for is the answer. No training, ten times the work."
        ),
        note=(
            "Vote on the worst case first: does the vote bring the right answer back? Then draw again, and vote on the "
            "picture as it is. The vote is no proof: whoever knows the ten transforms can search for a pose that fools "
            "most of them. With worst-of-10-30 or invariant-30 chosen the bars tell that a vote can even hurt; the "
            "vote was asked about fewer pictures."
        ),
        sources="Engstrom et al., ICML 2019, on aggregating random transformations. Published: the talk's slides.",
        show=_ask_ten_times,
        warm=_warm_ballots,
    ),
    Step(
        title="Intuitions do not transfer",
        text=(
            "A classifier that was trained against **ℓ∞ noise**, small changes of every pixel, is robust in one sense. "
            "Is it in another, too, when the picture is turned?"
        ),
        note=(
            "Ask first. Most expect that a robust classifier is robust. Each training buys robustness against what it "
            "trained on, and hardly any against the rest."
        ),
        sources=(
            "Tramèr, Boneh, *Adversarial Training and Robustness for Multiple Perturbations*, NeurIPS 2019; Kamath et "
            "al., *Can we have it all?*, NeurIPS 2021; noise training after Madry et al., ICLR 2018."
        ),
        show=_transfer,
        warm=_warm_transfer,
    ),
    Step(
        title="Room for improvement",
        text=(
            "Robust training helps and does not solve it. Hunt for a picture that still breaks the robust classifier: "
            "choose **Upload** or **Camera** in the sidebar, and turn yours until the answer changes."
        ),
        note=(
            "A picture that nobody labelled is held against the classifier's own answer to it unmoved. CIFAR-10 knows "
            "ten classes: airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck. A good prey is near a "
            "border between two of them. The picture on the left, if there is one, is a sample that breaks it already."
        ),
        sources=(
            "Engstrom et al., ICML 2019. What is called found comes from a search of this app's samples for those that "
            "are right as they are and wrong somewhere on the grid, which stops at the first transforms that break any."
        ),
        show=_hunt,
        warm=_warm_hunt,
    ),
    Step(
        title="What to take home",
        text="What of all this to remember: three sentences.",
        note=(
            "Leave this one on the screen. If the app was started with `make share`, it is open to everybody in the "
            "network, and a QR code stands here that opens exactly this state on the students' own telephones. "
            "Otherwise it listens on this computer only, and there is no code to show."
        ),
        sources=(
            "Engstrom, Tran, Tsipras, Schmidt, Mądry, *Exploring the Landscape of Spatial Robustness*, ICML 2019: "
            "[the paper](https://proceedings.mlr.press/v97/engstrom19a.html)."
        ),
        show=_take_home,
    ),
)
