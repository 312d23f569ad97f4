"""The pose that the pages with a live explorer share, and what is computed at it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st
import torch
import xarray as xr

from spatial_viz.app import url_state
from spatial_viz.app.view import View
from spatial_viz.errors import InvalidInput
from spatial_viz.explorer.payload import Pane, exact_answer
from spatial_viz.landscape.cache import cached_sweep
from spatial_viz.landscape.dataset import DIMS, label_of
from spatial_viz.landscape.sweeps import display_axes, sweep_axes
from spatial_viz.landscape.vote_shares import class_shares
from spatial_viz.models.engine import Progress
from spatial_viz.models.inference import exact_logits
from spatial_viz.models.losses import cross_entropy
from spatial_viz.transforms.grids import TransformGrid
from spatial_viz.transforms.transform import IDENTITY, Transform

Plane = tuple[str, float]  # the dimension held fixed, and at which value


@dataclass
class LastPose:
    """The pose last let go of. A session has one of these: what runs outside the page can hold on to it."""

    pose: Transform = IDENTITY

    def __call__(self) -> Transform:
        return self.pose


def let_go(explorer: str) -> Transform | None:
    """The pose in which the visitor has let go of the explorer of this key; None before the first."""
    sent = st.session_state.get(explorer, {}).get("pose")
    return sent and Transform(*(float(sent.get(axis, 0.0)) for axis in Transform._fields))


def pose_of(explorer: str, grid: TransformGrid) -> Transform:
    """The pose that the explorer of this key is in, as far as the server knows: let go of, or linked to."""
    return let_go(explorer) or linked_pose(grid) or IDENTITY


def linked_pose(grid: TransformGrid) -> Transform | None:
    """The pose that a link asks for, or the one let go of on another page, within the limits; None where there is none,
    or nonsense.
    """
    linked, limits = url_state.get("pose"), grid.limits
    try:
        wanted = Transform.from_query(linked)
    except InvalidInput:
        url_state.judge("pose", linked and (
            f"The link asks for the pose {url_state.quoted(linked)}; three numbers were expected, such as 12,1.5,-2 "
            "for rotation, shift right and shift down. The page opens without it."
        ))  # fmt: skip
        url_state.show("pose", "")
        return None
    pose = wanted.within(limits)
    url_state.judge("pose", "" if pose == wanted else (
        f"The link asks for the pose {url_state.quoted(linked)}, which is beyond the spatial limits of "
        f"±{limits.rotation:g}° and ±{limits.dx:g} and ±{limits.dy:g} pixels; {pose.to_query()} is shown instead."
    ))  # fmt: skip
    url_state.show("pose", pose.to_query())
    return pose


def link_pose(pose: Transform) -> None:
    """Keep the pose for the address and the other pages; the unmoved picture needs none."""
    pose_now().pose = pose
    url_state.put("pose", pose.to_query() if any(pose) else "")


def pose_now() -> LastPose:
    now: LastPose = st.session_state.setdefault("pose_now", LastPose())
    return now


def answer_at(view: View, pane: Pane, pose: Transform) -> dict[str, Any]:
    """What the classifier of a pane says about the picture at a pose, computed now."""
    logits = exact_logits(view.classifier, view.image, pose.tensor(), padding=view.padding)
    probabilities = logits.softmax(1)[0].numpy()
    predicted = int(probabilities.argmax())
    if "share" in pane.landscape:
        probabilities = class_shares(view.classifier, probabilities, np.arange(len(probabilities)) == predicted)
    return exact_answer(
        pane,
        predicted=predicted,
        loss=float(cross_entropy(logits, torch.tensor([label_of(pane.landscape)]))),
        confidence=float(probabilities[predicted]),
        probabilities=probabilities,
    )


def pose_planes(grid: TransformGrid, pose: Transform, fixed: tuple[str, ...]) -> list[Plane]:
    """The planes through a pose with one of the dimensions ``fixed``, where both of their axes move."""
    moving = {dim for dim, values in zip(DIMS, grid.shape, strict=True) if values > 1}
    return [(dim, getattr(pose, dim)) for dim in fixed if moving >= set(DIMS) - {dim}]


def display_plane(view: View, plane: Plane, progress: Progress) -> xr.Dataset:
    """A plane of the landscape, dense enough to be looked at."""
    fixed, value = plane
    axes = display_axes(view.grid, view.classifier.input_size, fixed, value)
    # Only what others will ask for, too, is worth a place on the disk.
    if value in view.grid.values(fixed):
        return cached_sweep(view.classifier, view.image, view.label, axes, view.padding, progress=progress)
    return sweep_axes(view.classifier, view.image, view.label, axes, padding=view.padding, progress=progress)
