"""The picture beside its worst case."""

from __future__ import annotations

import plotly.graph_objects as go
import torch
import xarray as xr
from torch import Tensor

from spatial_viz.data.images import data_uri, tensor_to_picture
from spatial_viz.errors import InvalidInput
from spatial_viz.figures.descriptions import ORDER, describe_failure, describe_verdict
from spatial_viz.figures.planes import check_one_picture
from spatial_viz.figures.style import Theme, new_figure, palette
from spatial_viz.figures.text import decimal, escaped, percent, wrapped
from spatial_viz.landscape.attributes import attributes_of
from spatial_viz.landscape.dataset import class_name, label_of, loss_title, worst_case
from spatial_viz.transforms.geometry import warp


def worst_case_figure(image: Tensor, landscape: xr.Dataset, *, theme: Theme = "light") -> go.Figure:
    """The picture as it is beside the worst case, with both predictions; below, the transform in words.

    Parameters
    ----------
    image: the C×H×W picture in [0, 1] that was swept, with 1 or 3 channels.

    Raises
    ------
    InvalidInput: another shape than the landscape's classifier takes, an unknown theme.
    """
    check_one_picture(landscape)
    colours, attributes, worst = palette(theme), attributes_of(landscape), worst_case(landscape)
    size = attributes.input_size or tuple(image.shape[-2:])
    if image.ndim != 3 or image.shape[0] not in (1, 3) or tuple(image.shape[1:]) != size:
        of_size = "×".join(map(str, size))
        raise InvalidInput(f"expected the picture that was swept, 1×{of_size} or 3×{of_size}; got {tuple(image.shape)}")
    height, width = size
    pixels = image.detach().to("cpu", torch.float32)
    warped = warp(pixels[None], worst.transform.tensor(), attributes.padding)[0]
    labelled = attributes.labelled
    natural = int(landscape["natural_predicted"])
    confidence = float(landscape["natural_confidence"])
    heading = (
        "Worst case" if worst.misclassified else f"Strongest transform (still {'correct' if labelled else 'the same'})"
    )
    sides = [
        ("Original", class_name(landscape, natural), confidence, natural != label_of(landscape)),
        (heading, worst.name, worst.confidence, worst.misclassified),
    ]
    titles = []
    for head, name, confidence, wrong in sides:
        lines = [f"<b>{line}</b>" for line in wrapped(head, 21)]
        lines += [escaped(line) for line in wrapped(f"{name}, {percent(confidence)}", 21)]
        verdict = f"{'✕' if wrong else '✓'} {describe_verdict(labelled, wrong)}"
        titles.append([*lines, f"<span style='color:{colours['muted']}'>{verdict}</span>"] if labelled else lines)
    shape = " × ".join(str(landscape.sizes[dim]) for dim in ORDER)
    below = [
        worst.transform.describe().capitalize(),
        f"{loss_title(landscape).capitalize()} {decimal(worst.loss)} nats "
        f"(original {decimal(float(landscape['natural_loss']))})",
        describe_failure(landscape),
    ]
    text = [escaped(line) for entry in below for line in wrapped(entry)]
    text.append(f"<span style='font-size:11px;color:{colours['muted']}'>grid of {shape} (rotation, dx, dy)</span>")

    figure = new_figure([], landscape, theme, "", [], 300)
    rows = max(map(len, titles))
    top, bottom = 14 + 18 * rows, 20 + 19 * len(text)
    figure.update_layout(height=top + bottom + 220, margin={"l": 8, "r": 8, "t": top, "b": bottom})
    for number, picture in enumerate((pixels, warped), start=1):
        suffix = "" if number == 1 else str(number)
        start, end = (0.0, 0.485) if number == 1 else (0.515, 1.0)
        hidden = {"visible": False, "constrain": "domain"}
        figure.add_trace(
            go.Image(
                source=data_uri(tensor_to_picture(picture)), xaxis=f"x{suffix}", yaxis=f"y{suffix}",
                name=sides[number - 1][0], hoverinfo="skip", zsmooth=False,
            )
        )  # fmt: skip
        figure.update_layout(
            {
                f"xaxis{suffix}": hidden
                | {"domain": [start, end], "anchor": f"y{suffix}", "range": [-0.5, width - 0.5]},
                f"yaxis{suffix}": hidden
                | {"anchor": f"x{suffix}", "range": [height - 0.5, -0.5], "scaleanchor": f"x{suffix}",
                   "constraintoward": "top"},
            }
        )  # fmt: skip
        # A frame, because black corners vanish on a dark page.
        figure.add_shape(
            type="rect", x0=-0.5, x1=width - 0.5, y0=-0.5, y1=height - 0.5, xref=f"x{suffix}", yref=f"y{suffix}",
            line={"color": colours["muted"], "width": 1},
        )  # fmt: skip
        figure.add_annotation(
            text="<br>".join(titles[number - 1]), x=(start + end) / 2, xref="paper", xanchor="center",
            y=1, yref="paper", yanchor="bottom", showarrow=False,
        )  # fmt: skip
    # Tied to the lower edge of the pictures, wherever the width of the page puts it.
    figure.add_annotation(
        text="<br>".join(text), x=0.5, xref="paper", xanchor="center",
        y=height - 0.51, yref="y", yanchor="top", yshift=-6, showarrow=False,
    )  # fmt: skip
    return figure
