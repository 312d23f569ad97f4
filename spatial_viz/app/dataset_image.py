"""A picture of a data set, opened by a link: ``?picture=cifar10/test/123`` is number 123 of the test pictures."""

from __future__ import annotations

import dataclasses

import streamlit as st

from spatial_viz.app import url_state
from spatial_viz.app.sidebar import of_data_set
from spatial_viz.app.view import View
from spatial_viz.app.widgets import plain
from spatial_viz.data.datasets import DATASETS
from spatial_viz.data.selection import Pictures
from spatial_viz.errors import InvalidInput, SpatialVizError
from spatial_viz.evaluation.decode import class_map
from spatial_viz.evaluation.locate_images import browsable, data_names, data_set


def link_name(data: str, split: str, place: int) -> str:
    """What a link calls the picture."""
    return f"{data.rstrip('/').rsplit('/', 1)[-1]}/{split}/{place}"


@st.cache_resource(max_entries=4, show_spinner="Listing the data set…")
def listed(name: str, split: str) -> Pictures:
    """A whole data set; listed once."""
    return data_set(name, split)


def _known(data: str) -> str:
    """The data set, or the folder that a run was made from, which a link calls ``data``."""
    known = data in DATASETS and data != "folder"
    name = data if known else data_names(browsable()[0]).get(data)  # reads every run's card
    if name is None:
        raise InvalidInput(f"no data set of that name, {data}, is known here")
    return name


def opened(view: View | None) -> View | None:
    """The view, with the data set's picture that the address names in the place of the sample; where there is none, or
    it cannot be shown, the view as it is, and a sentence on the page.
    """
    wanted = url_state.get("picture")
    linked = of_data_set(wanted)
    if view is None or linked is None or st.session_state.get("source") != "Samples":
        return view
    data, split, place = linked
    try:
        pictures = listed(_known(data), split)
        if place >= len(pictures):
            raise InvalidInput(f"{data}/{split} has {len(pictures):,} pictures, counted from 0")
        label = class_map(pictures, view.classifier)[pictures.labels[place]]
        image = view.classifier.prepare(pictures.dataset[place][0])
    except SpatialVizError as error:
        reason = str(error).removesuffix(".")
        url_state.say("picture", f"The picture {wanted} cannot be shown: {reason}. Shown instead: {view.title}.")
        url_state.show("picture", "")  # the sample that the page opens with
        return view
    title = f"{view.classifier.class_names[label]} ({wanted})"
    st.sidebar.caption(f"Shown: {plain(title)}, from the data set. A click on a sample shows that instead.")
    return dataclasses.replace(view, image=image, label=label, title=title)
