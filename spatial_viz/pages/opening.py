"""A picture of a data set, opened by a link: ``?picture=cifar10/test/123`` is number 123 of the test pictures."""

from __future__ import annotations

import dataclasses
import re

import streamlit as st

from spatial_viz.datasets import DATASETS
from spatial_viz.errors import SpatialVizError
from spatial_viz.evaluation.finding import browsable, data_names, data_set
from spatial_viz.evaluation.pictures import Pictures, class_map
from spatial_viz.pages.choosing import View, plain


def link_name(data: str, split: str, place: int) -> str:
    """What a link calls the picture."""
    return f"{data.rstrip('/').rsplit('/', 1)[-1]}/{split}/{place}"


@st.cache_resource(max_entries=4, show_spinner="Listing the data set…")
def listed(name: str, split: str) -> Pictures:
    """A whole data set; listed once."""
    return data_set(name, split)


def opened(view: View | None) -> View | None:
    """The view, with the data set's picture that the link names in the place of the sample.

    A link to nothing leaves the view as it is; one to pictures that are not on this machine says so in the sidebar.
    """
    wanted = st.query_params.get("picture") or st.session_state.get("picture") or ""
    match = re.fullmatch(r"([^/]+)/(train|test|val)/([0-9]{1,7})", wanted)
    if view is None or not match or st.session_state.get("source") != "Samples":
        return view
    known = match[1] in DATASETS and match[1] != "folder"
    name = match[1] if known else data_names(browsable()[0]).get(match[1])  # reads every run's card
    if name is None:
        return view
    try:
        pictures = listed(name, match[2])
        place = int(match[3])
        if place >= len(pictures):
            return view
        label = class_map(pictures, view.classifier)[pictures.labels[place]]
        image = view.classifier.prepare(pictures.dataset[place][0])
    except SpatialVizError as error:
        st.sidebar.warning(plain(error), icon=":material/image_not_supported:")
        return view
    title = f"{view.classifier.class_names[label]} ({wanted})"
    st.sidebar.caption(f"Shown: {plain(title)}, from the data set. A click on a sample shows that instead.")
    return dataclasses.replace(view, image=image, label=label, title=title)
