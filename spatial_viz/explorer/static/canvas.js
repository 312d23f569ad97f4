// Nodes, canvases and what is drawn on several of them.

function el(tag, className = "", text = "", ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text) node.textContent = text;
  if (tag === "button") node.type = "button";
  node.append(...children);
  return node;
}

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function canvasNode(className, label, focusable = false) {
  const node = el("canvas", className);
  node.setAttribute("role", focusable ? "application" : "img");
  node.setAttribute("aria-label", label);
  if (focusable) node.tabIndex = 0;
  return node;
}

function offscreen(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  return [canvas, canvas.getContext("2d")];
}

let resolution = 0; // of canvases drawn for a picture to keep; 0: that of the screen
let zoom = 1; // by the host's style sheet: pointers and bounds come in zoomed pixels, everything here is in others

// A canvas with the size that the observer last saw, in CSS pixels, at the resolution of the screen.
function begin(node) {
  const dpr = resolution || (window.devicePixelRatio || 1) * zoom;
  const w = node.shownWidth ?? node.clientWidth;
  const h = node.shownHeight ?? node.clientHeight;
  if (!w || !h) return null;
  const [pw, ph] = [Math.round(w * dpr), Math.round(h * dpr)];
  if (node.width !== pw || node.height !== ph) {
    node.width = pw;
    node.height = ph;
  }
  const context = node.getContext("2d");
  context.setTransform(dpr, 0, 0, dpr, 0, 0);
  context.clearRect(0, 0, w, h);
  return { context, w, h };
}

// A drawing off the screen that is made again only when its size, the theme or its own version has changed.
function makeKept() {
  const canvas = offscreen(1, 1)[0];
  let known = "";
  return {
    canvas,
    refresh({ w, h, key }, version, drawing) {
      if (known === `${key} ${version}`) return;
      known = `${key} ${version}`;
      [canvas.shownWidth, canvas.shownHeight] = [w, h];
      drawing(begin(canvas).context);
    },
  };
}

function niceTicks(lo, hi, most) {
  const raw = (hi - lo) / most;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 1.5, 2, 3, 5, 10].map((m) => m * power).find((s) => s >= raw - 1e-9);
  const ticks = [];
  for (let k = Math.ceil(lo / step - 1e-9); k * step <= hi + 1e-9; k++) ticks.push(k * step);
  return ticks;
}

// Light line with a dark halo: visible on every colour of the scale.
function haloed(context, path, width = 1.5, alpha = 1) {
  context.save();
  context.lineJoin = context.lineCap = "round";
  context.globalAlpha = alpha;
  context.strokeStyle = "rgba(0, 0, 0, 0.75)";
  context.lineWidth = width + 2;
  context.stroke(path);
  context.strokeStyle = "#fff";
  context.lineWidth = width;
  context.stroke(path);
  context.restore();
}

function drawRing(context, theme, x, y) {
  for (const [radius, width, colour] of [[7, 5.5, "rgba(0, 0, 0, 0.75)"], [7, 4, "#fff"], [7, 2, theme.accent]]) {
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.lineWidth = width;
    context.strokeStyle = colour;
    context.stroke();
  }
}

// The worst case: a filled diamond where it lies in the plane shown, hollow and faint where it does not.
function drawWorst(context, x, y, inPlane) {
  const r = 6;
  const path = new Path2D(`M${x} ${y - r}L${x + r} ${y}L${x} ${y + r}L${x - r} ${y}Z`);
  haloed(context, path, 1.5, inPlane ? 1 : 0.6);
  if (!inPlane) return;
  context.fillStyle = "#fff";
  context.fill(path);
}

// Magma, the anchors that Plotly uses, so that maps and exported figures have the same colours.
const MAGMA = ["000004", "180f3d", "440f76", "721f81", "9e2f7f", "cd4071", "f1605d", "fd9668", "feca8d", "fcfdbf"];
const LUT = colourTable(MAGMA);

function colourTable(anchors) {
  const rgb = anchors.map((h) => [0, 2, 4].map((i) => parseInt(h.slice(i, i + 2), 16)));
  const table = new Uint32Array(256);
  for (let i = 0; i < 256; i++) {
    const at = (i / 255) * (rgb.length - 1);
    const a = Math.min(Math.floor(at), rgb.length - 2);
    const [r, g, b] = [0, 1, 2].map((c) => Math.round(rgb[a][c] + (at - a) * (rgb[a + 1][c] - rgb[a][c])));
    table[i] = (255 << 24) | (b << 16) | (g << 8) | r; // little-endian RGBA
  }
  return table;
}

let themes = 0;

// Canvases cannot use CSS variables: the stylesheet resolves the host's theme, and this reads the result.
function readTheme(root) {
  const style = getComputedStyle(root);
  const read = (name) => style.getPropertyValue(name).trim();
  themes += 1;
  return {
    id: themes, // kept drawings of an earlier theme or payload are out of date
    text: style.color,
    font: style.fontFamily,
    accent: read("--sv-accent"),
    background: read("--sv-background"),
    muted: read("--sv-muted"),
    faint: read("--sv-faint"),
    shade: read("--sv-shade"),
  };
}
