// A surface from above, as a heat map, for browsers that have no WebGL: remote desktops, computers of lecture halls.

const NO_WEBGL =
  "WebGL is off in this browser, so the surface is shown from above, as a heat map. " +
  "Hardware acceleration in the browser's settings switches it on.";
const THINNER = 0.45; // lines in the plane, of those in space
const LARGER = 1.8; // marks

let webgl = null;

// Whether Plotly can draw in three dimensions here; asked once.
function hasWebGL() {
  if (webgl === null) {
    const canvas = document.createElement("canvas");
    const context = canvas.getContext("webgl") ?? canvas.getContext("experimental-webgl");
    webgl = Boolean(context);
    context?.getExtension("WEBGL_lose_context")?.loseContext(); // browsers have few of them
  }
  return webgl;
}

// A figure of Plotly with one scene, as {data, layout} without: everything in it seen from above, with its texts.
function fromAbove({ data, layout }) {
  const { scene, annotations, margin, ...rest } = layout;
  const surface = data.find(({ type }) => type === "surface");
  const { title, thickness, outlinewidth, xpad, tickfont, nticks, tickformat } = surface.colorbar;
  const words = annotations?.[0]?.text ?? title?.text; // the title of the colour bar stands below it
  const colorbar = { thickness, outlinewidth, xpad, tickfont, nticks, tickformat, title: { text: words, side: "right" } };
  const map = {
    type: "heatmap", name: surface.name, x: surface.x, y: surface.y, z: surface.z, zmin: surface.cmin, zmax: surface.cmax,
    colorscale: surface.colorscale, colorbar, text: surface.text, hovertemplate: "%{text}<extra></extra>",
  };
  const marks = data.filter(({ type, name }) => type === "scatter3d" && name !== "drop line").map((trace) => {
    const { z, line, marker, ...flat } = trace;
    if (line) flat.line = { ...line, width: line.width * THINNER };
    if (marker) flat.marker = { ...marker, size: marker.size * LARGER };
    return { ...flat, type: "scatter", cliponaxis: false };
  });
  const axis = ({ nticks, range, ...looks }, values) => {
    const half = (range[1] - range[0]) / (lengthOf(values) - 1) / 2; // to the border of the outer cells
    return { ...looks, range: [range[0] - half, range[1] + half], showgrid: false, zeroline: false };
  };
  const [xaxis, yaxis] = [axis(scene.xaxis, surface.x), axis(scene.yaxis, surface.y)];
  const share = ({ range: [first, last] }, value) => (value - first) / (last - first);
  const notes = (scene.annotations ?? []).map(({ z, ...note }) => {
    // Towards the middle, so that no edge cuts the words off.
    const [across, high] = [share(xaxis, note.x), share(yaxis, note.y) > 0.5];
    const [ax, xanchor] = across < 0.3 ? [26, "left"] : across > 0.7 ? [-26, "right"] : [0, "center"];
    return { ...note, ax, ay: high ? 34 : -34, xanchor, arrowcolor: "#ffffff" };
  });
  return {
    data: [map, ...marks],
    layout: {
      ...rest,
      margin: { l: 56, r: 12, t: margin?.t ?? 12, b: 48 },
      xaxis,
      yaxis,
      annotations: notes,
    },
  };
}

// Of a list, or of an array as plotly.py packs it.
const lengthOf = (values) => (values.bdata ? atob(values.bdata).length / Number(values.dtype.at(-1)) : values.length);
