// The live explorer: drag a picture and watch the classifier's answer follow.
//
// mount(element, payload, callbacks) knows nothing of its host and returns {update(payload), destroy()}; the default
// export at the end adapts it to Streamlit. The payload is described in payload.py. The whole swept grid is in the
// browser, so nothing is sent while a pose changes; callbacks.onCommit(pose) is called once when the visitor lets go,
// callbacks.onRest() while the picture rests and the payload says that denser maps are being computed. It is sent behind
// saving.js, as one script: that makes the pictures that the visitor keeps.
//
// Conventions: rotation in degrees, positive counter-clockwise as displayed; dx, dy in pixels of the network's input,
// positive right and down; rotate about ((W-1)/2, (H-1)/2) first, then shift.

// ---------------------------------------------------------------------------------------------- constants and words

const HOME = { rotation: 0, dx: 0, dy: 0 };
const AXES = ["rotation", "dx", "dy"]; // the order of the arrays in a payload is rotation, dy, dx
const TITLES = { rotation: "rotation (degrees, positive turns left)", dx: "shift right (px)", dy: "shift down (px)" };
const KINDS = {
  shift: { x: "dx", y: "dy", fixed: "rotation", nx: 49, ny: 49 },
  rotation: { x: "rotation", y: "dx", fixed: "dy", nx: 121, ny: 25 },
};
const SAME = 1e-6; // poses closer than this are the same pose
const KNOB_SPACE = 24; // above the picture, for the rotation handle
const PLAY_MS = 2500;
const DEBOUNCE_MS = 200;
const REST_MS = 400; // between two questions for denser maps, while the picture rests
const HINT_KEY = "spatial-viz-dragged";
const HATCH = 4; // points of the drawn field between two lines
const FEW = 4; // bars per pane where several panes are compared

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

// What a map shows: the loss, or, where votes are compared, the share of them for the true class. What is bad is bright.
const QUANTITIES = {
  loss: {
    name: "loss", title: "loss (nats)", term: "loss", sign: 1,
    say: (v) => `loss ${number(v, 2)}`,
    sure: (p) => `confidence ${percent(p)}`,
  },
  share: {
    name: "share", title: "share of votes", term: "share of votes", sign: -1,
    say: (v) => `true class ${percent(v)}`,
    sure: (p) => `${percent(p)} of votes`,
  },
};

const clamp = (v, lo, hi) => Math.min(Math.max(v, lo), hi);
const samePose = (a, b, tolerance = SAME) => AXES.every((d) => Math.abs(a[d] - b[d]) < tolerance);
const number = (v, digits) => {
  const text = v.toFixed(digits);
  return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−");
};
const short = (v) => number(v, 2).replace(/\.?0+$/, "");
const percent = (p) => {
  const text = p > 0.995 && p < 1 ? "> 99" : p > 0 && p < 0.005 ? "< 1" : String(Math.round(100 * p));
  return `${text} %`.replaceAll(" ", "\u00a0"); // a number and its unit stay on one line
};

function transformWords({ rotation, dx, dy }) {
  const turn = Math.round(rotation * 10) / 10;
  const moves = [[dx, "right", "left"], [dy, "down", "up"]]
    .map(([v, plus, minus]) => [Math.round(v * 100) / 100, plus, minus])
    .filter(([v]) => v)
    .map(([v, plus, minus]) => `${Math.abs(v)} px ${v > 0 ? plus : minus}`);
  const parts = turn ? [`turned ${Math.abs(turn)}° ${turn > 0 ? "left" : "right"}`] : [];
  if (moves.length) parts.push(`moved ${moves.join(" and ")}`);
  return parts.join(", ") || "not moved at all";
}

// Without a true label, the reference is the prediction for the unmoved picture, and the words say so.
const verdictWord = (pane, wrong) =>
  pane.labelled ? (wrong ? "misclassified" : "correct") : wrong ? "changed" : "unchanged";

// ---------------------------------------------------------------------------------------------- reading the payload

function decode(text, Type) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  return new Type(bytes.buffer);
}

// +1 where correct, -1 where misclassified: a field whose zero line can be drawn
const signs = (wrong) => Float32Array.from(wrong, (w) => 1 - 2 * w);

function decodePane(pane, name) {
  const quantity = QUANTITIES[name];
  const wrong = decode(pane.misclassified, Uint8Array);
  const names = pane.classes.map((c) => c.index);
  const shown = pane.classes.map((c, i) => i).filter((i) => names[i] >= 0); // a stand-in class has no bar
  const trueColumn = names.indexOf(pane.label);
  const planes = pane.planes.map((p) => {
    const bad = decode(p.misclassified, Uint8Array);
    const margin = p.margin ? decode(p.margin, Float32Array) : signs(bad);
    return { ...p, values: decode(p[name], Float32Array), wrong: bad, margin };
  });
  return {
    ...pane,
    quantity,
    planes,
    shown,
    trueColumn: pane.classes.length > 1 ? trueColumn : -1,
    pixels: decode(pane.picture.pixels, Uint8Array),
    values: decode(pane[name], Float32Array),
    signs: signs(wrong),
    probabilities: decode(pane.probabilities, Float32Array),
    others: shown.length < (pane.class_count ?? shown.length),
    beyond: worstBetween(pane.worst, planes, quantity),
  };
}

// The worst misclassified cell of the refined planes, where it is worse than the worst case of the swept grid.
function worstBetween(worst, planes, { name, sign }) {
  let found = null;
  let most = worst.misclassified ? sign * worst[name] + 1e-4 : -Infinity;
  for (const plane of planes) {
    plane.values.forEach((value, i) => {
      if (!plane.wrong[i] || sign * value <= most) return;
      most = sign * value;
      const [x, y] = [plane.x[i % plane.x.length], plane.y[Math.floor(i / plane.x.length)]];
      found = { pose: { [plane.fixed]: plane.at, [plane.x_axis]: x, [plane.y_axis]: y }, value };
    });
  }
  return found;
}

// ---------------------------------------------------------------------------------------------- the warp

// Index of the pixel that stands for position i outside 0..n-1 (or -1 for black), for whole-number i.
function paddedIndex(i, n, padding) {
  if (i >= 0 && i < n) return i;
  if (padding === "black") return -1;
  if (padding === "edge" || n === 1) return clamp(i, 0, n - 1);
  const period = 2 * (n - 1);
  const m = ((i % period) + period) % period;
  return m < n ? m : period - m;
}

// One inverse bilinear resampling of the picture at a pose into RGBA bytes. Exported for the tests.
export function warp(picture, pixels, pose, out) {
  const { width: W, height: H, channels: C, padding } = picture;
  const angle = (pose.rotation * Math.PI) / 180;
  const cos = Math.cos(angle);
  const sin = Math.sin(angle);
  const [cx, cy] = [(W - 1) / 2, (H - 1) / 2];
  const black = padding === "black";
  let o = 0;
  for (let y = 0; y < H; y++) {
    const v = y - cy - pose.dy;
    for (let x = 0; x < W; x++, o += 4) {
      const u = x - cx - pose.dx;
      const sx = cos * u - sin * v + cx;
      const sy = sin * u + cos * v + cy;
      let x0 = Math.floor(sx);
      let y0 = Math.floor(sy);
      const fx = sx - x0;
      const fy = sy - y0;
      let x1 = x0 + 1;
      let y1 = y0 + 1;
      let a = (1 - fx) * (1 - fy);
      let b = fx * (1 - fy);
      let c = (1 - fx) * fy;
      let d = fx * fy;
      if (x0 < 0 || y0 < 0 || x1 >= W || y1 >= H) {
        if (black) {
          if (x0 < 0 || x0 >= W) a = c = 0;
          if (x1 < 0 || x1 >= W) b = d = 0;
          if (y0 < 0 || y0 >= H) a = b = 0;
          if (y1 < 0 || y1 >= H) c = d = 0;
          x0 = clamp(x0, 0, W - 1);
          x1 = clamp(x1, 0, W - 1);
          y0 = clamp(y0, 0, H - 1);
          y1 = clamp(y1, 0, H - 1);
        } else {
          x0 = paddedIndex(x0, W, padding);
          x1 = paddedIndex(x1, W, padding);
          y0 = paddedIndex(y0, H, padding);
          y1 = paddedIndex(y1, H, padding);
        }
      }
      const p = (y0 * W + x0) * C;
      const q = (y0 * W + x1) * C;
      const r = (y1 * W + x0) * C;
      const s = (y1 * W + x1) * C;
      out[o] = a * pixels[p] + b * pixels[q] + c * pixels[r] + d * pixels[s];
      if (C === 3) {
        out[o + 1] = a * pixels[p + 1] + b * pixels[q + 1] + c * pixels[r + 1] + d * pixels[s + 1];
        out[o + 2] = a * pixels[p + 2] + b * pixels[q + 2] + c * pixels[r + 2] + d * pixels[s + 2];
      } else {
        out[o + 1] = out[o + 2] = out[o];
      }
      out[o + 3] = 255;
    }
  }
}

// The largest change of any value of the picture, of 255, when it is brought to a pose.
let turned = new Uint8ClampedArray(0);

function largestChange({ picture, pixels }, pose) {
  const { width, height, channels } = picture;
  if (turned.length !== 4 * width * height) turned = new Uint8ClampedArray(4 * width * height);
  warp(picture, pixels, pose, turned);
  let most = 0;
  for (let i = 0, o = 0; o < turned.length; o += 4)
    for (let c = 0; c < channels; c++, i++) most = Math.max(most, Math.abs(turned[o + c] - pixels[i]));
  return most;
}

// A drawable picture: as pixels (exactly what the network sees) or smooth (the browser resamples for the eye).
function makePicture({ picture, pixels }) {
  const { width: W, height: H, channels: C, padding } = picture;
  const [small, paint] = offscreen(W, H);
  const image = paint.createImageData(W, H);
  let wide = null; // the picture with a margin on every side, made when first shown smoothly
  let warped = null; // the pose of what `small` holds: panes with the same picture need it warped once

  function widen() {
    const [canvas, context] = offscreen(3 * W, 3 * H);
    const big = context.createImageData(3 * W, 3 * H);
    for (let y = 0, o = 0; y < 3 * H; y++) {
      const sy = paddedIndex(y - H, H, padding);
      for (let x = 0; x < 3 * W; x++, o += 4) {
        const sx = paddedIndex(x - W, W, padding);
        const from = (sy * W + sx) * C;
        for (let c = 0; c < 3; c++) big.data[o + c] = sx < 0 || sy < 0 ? 0 : pixels[from + (C === 3 ? c : 0)];
        big.data[o + 3] = 255;
      }
    }
    context.putImageData(big, 0, 0);
    return canvas;
  }

  return function draw(context, box, pose, smooth) {
    context.save();
    context.imageSmoothingEnabled = smooth;
    if (smooth) {
      wide ??= widen();
      const scale = box.w / W;
      context.beginPath();
      context.rect(box.x, box.y, box.w, box.h);
      context.clip();
      context.translate(box.x + box.w / 2 + pose.dx * scale, box.y + box.h / 2 + pose.dy * scale);
      context.rotate((-pose.rotation * Math.PI) / 180);
      context.imageSmoothingQuality = "high";
      context.drawImage(wide, -1.5 * box.w, -1.5 * box.h, 3 * box.w, 3 * box.h);
    } else {
      if (!warped || !samePose(warped, pose)) {
        warp(picture, pixels, pose, image.data);
        paint.putImageData(image, 0, 0);
        warped = { ...pose };
      }
      context.drawImage(small, box.x, box.y, box.w, box.h);
    }
    context.restore();
  };
}

function offscreen(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  return [canvas, canvas.getContext("2d")];
}

// ---------------------------------------------------------------------------------------------- interpolation

// Where v lies on an ascending axis: between grid points i and j, t of the way; constant beyond the ends.
function locate(axis, v) {
  const last = axis.length - 1;
  if (v <= axis[0]) return [0, 0, 0];
  if (v >= axis[last]) return [last, last, 0];
  let i = 0;
  while (axis[i + 1] <= v) i++;
  return [i, i + 1, (v - axis[i]) / (axis[i + 1] - axis[i])];
}

const onGrid = (axis, v) => axis.some((a) => Math.abs(a - v) < SAME);

// Positions of n evenly spaced points of [lo, hi] on an axis, kept as arrays for the inner loops.
function lattice(axis, [lo, hi], n) {
  const at = { n, i: new Int32Array(n), j: new Int32Array(n), t: new Float32Array(n) };
  for (let k = 0; k < n; k++) [at.i[k], at.j[k], at.t[k]] = locate(axis, lo + ((hi - lo) * k) / (n - 1));
  return at;
}

// The volume [rotation][dy][dx][K] at one value of one axis: the other axes keep their order.
function slice(pane, volume, K, fixed, value, out) {
  const order = ["rotation", "dy", "dx"];
  const at = order.indexOf(fixed);
  const size = (dims) => dims.reduce((product, d) => product * pane.axes[d].length, 1);
  const outer = size(order.slice(0, at));
  const inner = size(order.slice(at + 1)) * K;
  const n = pane.axes[fixed].length;
  const [i, j, t] = locate(pane.axes[fixed], value);
  for (let o = 0; o < outer; o++) {
    const a = (o * n + i) * inner;
    const b = (o * n + j) * inner;
    for (let q = 0; q < inner; q++) out[o * inner + q] = volume[a + q] + t * (volume[b + q] - volume[a + q]);
  }
  return out;
}

// Bilinear samples of a slice on a lattice. With a true column, the slice has K probabilities a point and the
// sample is the true class's probability minus the largest other: negative means misclassified.
function sample(values, strideX, strideY, atX, atY, out, K = 1, trueColumn = -1) {
  for (let y = 0, o = 0; y < atY.n; y++) {
    const top = atY.i[y] * strideY;
    const bottom = atY.j[y] * strideY;
    const t = atY.t[y];
    for (let x = 0; x < atX.n; x++, o++) {
      const left = atX.i[x] * strideX;
      const right = atX.j[x] * strideX;
      const s = atX.t[x];
      const a = (1 - s) * (1 - t);
      const b = s * (1 - t);
      const c = (1 - s) * t;
      const d = s * t;
      let mine = 0;
      let best = -Infinity;
      for (let k = 0; k < K; k++) {
        const p =
          a * values[top + left + k] + b * values[top + right + k] +
          c * values[bottom + left + k] + d * values[bottom + right + k];
        if (k === trueColumn) mine = p;
        else if (p > best) best = p;
      }
      out[o] = trueColumn < 0 ? best : mine - best;
    }
  }
  return out;
}

// Trilinear value(s) of a volume at a pose.
function valueAt(pane, volume, K, pose, out) {
  const [r0, r1, r] = locate(pane.axes.rotation, pose.rotation);
  const [y0, y1, y] = locate(pane.axes.dy, pose.dy);
  const [x0, x1, x] = locate(pane.axes.dx, pose.dx);
  const [Y, X] = [pane.axes.dy.length, pane.axes.dx.length];
  out.fill(0);
  for (const [ri, rw] of [[r0, 1 - r], [r1, r]])
    for (const [yi, yw] of [[y0, 1 - y], [y1, y]])
      for (const [xi, xw] of [[x0, 1 - x], [x1, x]]) {
        const weight = rw * yw * xw;
        if (weight) for (let k = 0; k < K; k++) out[k] += weight * volume[((ri * Y + yi) * X + xi) * K + k];
      }
  return out;
}

// ---------------------------------------------------------------------------------------------- the outline

// Marching squares: line segments [x0, y0, x1, y1, ...] in units of the lattice around the negative part of a field.
// The outside counts as positive, so that a region that touches the frame is closed along it.
function outline(field, nx, ny) {
  const lines = [];
  const value = (i, j) => (i < 0 || j < 0 || i >= nx || j >= ny ? 1 : field[j * nx + i]);
  const edge = (i0, j0, i1, j1) => {
    const a = value(i0, j0);
    const t = a / (a - value(i1, j1));
    const [x0, y0, x1, y1] = [clamp(i0, 0, nx - 1), clamp(j0, 0, ny - 1), clamp(i1, 0, nx - 1), clamp(j1, 0, ny - 1)];
    return [x0 + t * (x1 - x0), y0 + t * (y1 - y0)];
  };
  for (let j = -1; j < ny; j++) {
    for (let i = -1; i < nx; i++) {
      const corners = [value(i, j) < 0, value(i + 1, j) < 0, value(i + 1, j + 1) < 0, value(i, j + 1) < 0];
      const bits = corners.reduce((sum, inside, k) => sum + (inside ? 1 << k : 0), 0);
      if (bits === 0 || bits === 15) continue;
      const cuts = [];
      if (corners[0] !== corners[1]) cuts.push(edge(i, j, i + 1, j));
      if (corners[1] !== corners[2]) cuts.push(edge(i + 1, j, i + 1, j + 1));
      if (corners[2] !== corners[3]) cuts.push(edge(i, j + 1, i + 1, j + 1));
      if (corners[3] !== corners[0]) cuts.push(edge(i, j, i, j + 1));
      for (let k = 0; k + 1 < cuts.length; k += 2) lines.push(...cuts[k], ...cuts[k + 1]);
    }
  }
  return lines;
}

// ---------------------------------------------------------------------------------------------- DOM and canvas helpers

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

// ---------------------------------------------------------------------------------------------- maps and curve

const MARGIN = { left: 46, right: 14, top: 10, bottom: 36 }; // room for a mark that sits on the frame
const SCALE_SPACE = 66; // right of the square map: the colour bar with its ticks and title

function range(limits, axis) {
  const limit = limits[axis] || (axis === "rotation" ? 1 : 0.5); // a single value is drawn as a plain field
  return [-limit, limit];
}

function drawAxis(context, theme, box, [lo, hi], side, title, { labels = true, most = 4, single = false } = {}) {
  context.fillStyle = context.strokeStyle = theme.muted;
  context.lineWidth = 1;
  context.font = `11px ${theme.font}`;
  const vertical = side === "left";
  context.textAlign = vertical ? "right" : "center";
  context.textBaseline = vertical ? "middle" : "top";
  context.beginPath();
  for (const tick of single ? [0] : niceTicks(Math.min(lo, hi), Math.max(lo, hi), most)) {
    const f = (tick - lo) / (hi - lo);
    const x = vertical ? box.x : box.x + f * box.w;
    const y = vertical ? box.y + f * box.h : box.y + box.h;
    context.moveTo(x, y);
    context.lineTo(vertical ? x - 4 : x, vertical ? y : y + 4);
    if (labels) context.fillText(short(tick), vertical ? x - 7 : x, vertical ? y : y + 7);
  }
  context.stroke();
  if (!title) return;
  context.fillStyle = theme.text;
  context.textAlign = "center";
  if (vertical) {
    context.save();
    context.translate(box.x - 38, box.y + box.h / 2);
    context.rotate(-Math.PI / 2);
    context.textBaseline = "middle";
    context.fillText(title, 0, 0);
    context.restore();
  } else {
    context.fillText(title, box.x + box.w / 2, box.y + box.h + 21);
  }
}

// One heat map of one pane. The field is computed anew only when the fixed axis has moved.
function makeMap(kindName, node, scaleSpace = SCALE_SPACE) {
  const kind = KINDS[kindName];
  const { nx, ny } = kind;
  const [bitmap, paint] = offscreen(nx, ny);
  const image = paint.createImageData(nx, ny);
  const colours = new Uint32Array(image.data.buffer);
  const values = new Float32Array(nx * ny);
  const margin = new Float32Array(nx * ny);
  let scratch = new Float32Array(0);
  let known = { pane: null, at: NaN };
  let lines = [];
  // Kept drawings, for text and outlines are costly: the axes, and on them the field with everything but the two marks.
  const axes = makeKept();
  const field = makeKept();
  let version = 0;
  const map = { node, kind, box: null, plane: null, draw, curve };

  function compute(pane, limits, at) {
    if (known.pane === pane && known.at === at) return;
    known = { pane, at };
    map.plane =
      pane.planes.find(
        (p) => p.fixed === kind.fixed && p.x_axis === kind.x && p.y_axis === kind.y && Math.abs(p.at - at) < SAME,
      ) ?? null;
    const axes = map.plane ?? { x: pane.axes[kind.x], y: pane.axes[kind.y] };
    const atX = lattice(axes.x, range(limits, kind.x), nx);
    const atY = lattice(axes.y, range(limits, kind.y), ny);
    if (map.plane) {
      sample(map.plane.values, 1, axes.x.length, atX, atY, values);
      sample(map.plane.margin, 1, axes.x.length, atX, atY, margin);
    } else {
      const K = pane.trueColumn < 0 ? 1 : pane.classes.length;
      const volume = K === 1 ? pane.signs : pane.probabilities;
      if (scratch.length < volume.length) scratch = new Float32Array(volume.length);
      const last = pane.axes.dx.length; // both slices end with dx, see slice()
      const [strideX, strideY] = kind.x === "dx" ? [1, last] : [last, 1];
      sample(slice(pane, pane.values, 1, kind.fixed, at, scratch), strideX, strideY, atX, atY, values);
      const chances = slice(pane, volume, K, kind.fixed, at, scratch);
      sample(chances, strideX * K, strideY * K, atX, atY, margin, K, K === 1 ? -1 : pane.trueColumn);
    }
    const [from, step] = pane.quantity.sign > 0 ? [0, 255 / pane.top] : [255, -255 / pane.top];
    for (let i = 0; i < colours.length; i++) colours[i] = LUT[clamp(Math.round(from + values[i] * step), 0, 255)];
    paint.putImageData(image, 0, 0);
    lines = outline(margin, nx, ny);
    version += 1;
  }

  function draw(pane, limits, pose, theme) {
    compute(pane, limits, pose[kind.fixed]);
    const space = begin(node);
    if (!space) return;
    const { w, h } = space;
    const square = kindName === "shift";
    const side = Math.min(w - MARGIN.left - scaleSpace, h - MARGIN.top - MARGIN.bottom);
    const box = square
      ? { x: MARGIN.left, y: MARGIN.top, w: side, h: side }
      : { x: MARGIN.left, y: MARGIN.top, w: w - MARGIN.left - MARGIN.right, h: h - MARGIN.top - 6 };
    map.box = box;
    const [rangeX, rangeY] = [range(limits, kind.x), range(limits, kind.y)];
    const place = (values) => [
      box.x + ((values[kind.x] - rangeX[0]) / (rangeX[1] - rangeX[0])) * box.w,
      box.y + ((values[kind.y] - rangeY[0]) / (rangeY[1] - rangeY[0])) * box.h,
    ];
    const size = { w, h, key: `${node.width} ${w} ${h} ${theme.id}` };
    axes.refresh(size, "", (under) => {
      const most = clamp(Math.round(box.h / 30), 2, 6);
      const [single, singleY] = [!limits[kind.x], !limits[kind.y]];
      drawAxis(under, theme, box, rangeY, "left", square ? TITLES[kind.y] : "right (px)", { most, single: singleY });
      if (!square) return drawAxis(under, theme, box, rangeX, "bottom", "", { labels: false, most: 6, single });
      drawAxis(under, theme, box, rangeX, "bottom", TITLES[kind.x], { most, single });
      const bar = { x: box.x + box.w + 14, y: box.y, w: 10, h: box.h };
      drawScale(under, theme, bar, pane, scaleSpace === SCALE_SPACE ? pane.quantity.title : "");
    });
    field.refresh(size, version, (context) => {
      context.drawImage(axes.canvas, 0, 0, w, h);
      const swept = onGrid(pane.axes[kind.fixed], pose[kind.fixed]);
      drawField(context, pane, box, place, swept);
    });
    space.context.drawImage(field.canvas, 0, 0, w, h);
    drawWorst(space.context, ...place(pane.worst), Math.abs(pane.worst[kind.fixed] - pose[kind.fixed]) < 0.05);
    drawRing(space.context, theme, ...place(pose));
  }

  function drawField(context, pane, box, place, swept) {
    context.imageSmoothingEnabled = true;
    context.drawImage(bitmap, 0.5, 0.5, nx - 1, ny - 1, box.x, box.y, box.w, box.h);

    // The swept grid; its points are strong where this very plane was swept.
    const halos = new Path2D();
    const dots = new Path2D();
    for (const x of pane.axes[kind.x])
      for (const y of pane.axes[kind.y]) {
        const [px, py] = place({ [kind.x]: x, [kind.y]: y });
        halos.rect(px - 1.75, py - 1.75, 3.5, 3.5);
        dots.rect(px - 1, py - 1, 2, 2);
      }
    context.fillStyle = `rgba(0, 0, 0, ${swept ? 0.5 : 0.25})`;
    context.fill(halos);
    context.fillStyle = `rgba(255, 255, 255, ${swept ? 0.95 : 0.5})`;
    context.fill(dots);

    // Hatched where misclassified, so that the outline has an inside.
    const [stepX, stepY] = [box.w / (nx - 1), box.h / (ny - 1)];
    const hatch = new Path2D();
    for (let start = HATCH; start < nx + ny - 1; start += HATCH) {
      for (let i = Math.max(start - ny + 1, 0); i < Math.min(start, nx - 1); i++) {
        const j = start - i;
        if (margin[j * nx + i] >= 0 || margin[(j - 1) * nx + i + 1] >= 0) continue;
        hatch.moveTo(box.x + i * stepX, box.y + j * stepY);
        hatch.lineTo(box.x + (i + 1) * stepX, box.y + (j - 1) * stepY);
      }
    }
    context.lineWidth = 1;
    context.strokeStyle = "rgba(255, 255, 255, 0.3)";
    context.stroke(hatch);

    const path = new Path2D();
    for (let i = 0; i < lines.length; i += 4) {
      path.moveTo(box.x + (lines[i] / (nx - 1)) * box.w, box.y + (lines[i + 1] / (ny - 1)) * box.h);
      path.lineTo(box.x + (lines[i + 2] / (nx - 1)) * box.w, box.y + (lines[i + 3] / (ny - 1)) * box.h);
    }
    haloed(context, path);
  }

  // The values over x at one value of y, from the field just drawn.
  function curve(limits, value, out) {
    const [lo, hi] = range(limits, kind.y);
    const at = clamp(((value - lo) / (hi - lo)) * (ny - 1), 0, ny - 1);
    const row = Math.min(Math.floor(at), ny - 2);
    for (let i = 0; i < nx; i++) {
      const a = row * nx + i;
      out.values[i] = values[a] + (at - row) * (values[a + nx] - values[a]);
      out.margin[i] = margin[a] + (at - row) * (margin[a + nx] - margin[a]);
    }
  }
  return map;
}

function drawScale(context, theme, box, { top, quantity }, title) {
  const shades = context.createLinearGradient(0, box.y + box.h, 0, box.y);
  MAGMA.forEach((colour, i) => {
    const at = i / (MAGMA.length - 1);
    shades.addColorStop(quantity.sign > 0 ? at : 1 - at, `#${colour}`);
  });
  context.fillStyle = shades;
  context.fillRect(box.x, box.y, box.w, box.h);
  context.font = `11px ${theme.font}`;
  context.fillStyle = theme.muted;
  context.textAlign = "left";
  context.textBaseline = "middle";
  for (const tick of niceTicks(0, top, quantity.sign > 0 ? 4 : 3)) {
    context.fillText(short(tick), box.x + box.w + 5, box.y + box.h * (1 - tick / top));
  }
  context.save();
  context.fillStyle = theme.text;
  context.translate(box.x + box.w + 34, box.y + box.h / 2);
  context.rotate(-Math.PI / 2);
  context.textAlign = "center";
  context.fillText(title, 0, 0);
  context.restore();
}

function makeCurve(node, map) {
  const n = KINDS.rotation.nx;
  const along = { values: new Float32Array(n), margin: new Float32Array(n) };
  const axes = makeKept();
  const view = { node, box: null, draw };

  function draw(pane, limits, pose, theme, value) {
    const space = begin(node);
    if (!space) return;
    const { context, w, h } = space;
    const [left, top] = [MARGIN.left, MARGIN.top];
    const box = { x: left, y: top, w: w - left - MARGIN.right, h: h - top - MARGIN.bottom };
    view.box = box;
    map.curve(limits, pose.dx, along);
    const [lo, hi] = range(limits, "rotation");
    const placeX = (rotation) => box.x + ((rotation - lo) / (hi - lo)) * box.w;
    const placeY = (v) => box.y + box.h * (1 - clamp(v / pane.top, 0, 1));
    axes.refresh({ w, h, key: `${node.width} ${w} ${h} ${theme.id}` }, "", (under) => {
      drawAxis(under, theme, box, [lo, hi], "bottom", TITLES.rotation, { most: 6, single: !limits.rotation });
      drawAxis(under, theme, box, [pane.top, 0], "left", pane.quantity.title, { most: 2 });
      under.strokeStyle = theme.faint;
      under.strokeRect(box.x, box.y, box.w, box.h);
    });
    context.drawImage(axes.canvas, 0, 0, w, h);
    context.fillStyle = theme.shade; // where misclassified
    for (let i = 0; i < n; i++) {
      if (along.margin[i] >= 0) continue;
      const first = i;
      while (i + 1 < n && along.margin[i + 1] < 0) i++;
      const from = box.x + (Math.max(first - 0.5, 0) / (n - 1)) * box.w;
      const to = box.x + (Math.min(i + 0.5, n - 1) / (n - 1)) * box.w;
      context.fillRect(from, box.y, to - from, box.h);
    }
    context.strokeStyle = theme.text;
    context.lineWidth = 1.75;
    context.lineJoin = "round";
    context.beginPath();
    for (let i = 0; i < n; i++) context.lineTo(box.x + (i / (n - 1)) * box.w, placeY(along.values[i]));
    context.stroke();
    const inPlane = Math.abs(pane.worst.dx - pose.dx) < 0.05 && Math.abs(pane.worst.dy - pose.dy) < 0.05;
    drawWorst(context, placeX(pane.worst.rotation), placeY(pane.worst[pane.quantity.name]), inPlane);
    drawRing(context, theme, placeX(pose.rotation), placeY(value));
  }
  return view;
}

// ---------------------------------------------------------------------------------------------- one pane

// The DOM of one pane and how it is drawn. `help(term)` makes a "?" button or an empty text.
function makePane(pane, many, help) {
  const view = { pane, draw, thumbs, maps: [], caption: {} };
  const classes = el("div", `sv-bars${pane.classes.some((c) => c.name.length > 10) ? " sv-long" : ""}`);
  const columns = pane.shown.slice();
  if (many && columns.length > FEW) {
    // The classes that matter most anywhere on the grid, still in the order of their indices.
    const K = pane.classes.length;
    const most = new Float32Array(K);
    pane.probabilities.forEach((p, i) => (most[i % K] = Math.max(most[i % K], p)));
    if (pane.trueColumn >= 0) most[pane.trueColumn] = 2;
    columns.sort((a, b) => most[b] - most[a]).splice(FEW);
    columns.sort((a, b) => a - b);
  }
  const rest = pane.others || columns.length < pane.shown.length;
  const bars = columns.map((column) => {
    const { index, name } = pane.classes[column];
    const bar = makeBar(name, index === pane.label ? (pane.labelled ? "true" : "original") : "");
    bar.node.dataset.index = index;
    classes.append(bar.node);
    return { ...bar, column };
  });
  const othersBar = rest ? makeBar("all others", "") : null;
  if (othersBar) classes.append(othersBar.node);

  const hint = el("div", "sv-hint", many ? "drag one, all follow" : "drag the picture");
  const keys = "Arrow keys shift it, with Shift in fine steps; [ and ] turn it; 0 resets.";
  view.picture = canvasNode("sv-picture", `Picture of ${pane.label_name}. ${keys}`, true);
  view.hint = hint;
  const stage = el("div", "sv-stage", "", view.picture, hint);

  const [badge, name, sure, valueText, status] = ["sv-badge", "sv-name", "sv-sure", "sv-loss", "sv-status"].map((c) =>
    el("div", c),
  );
  const long = pane.classes.some((c) => c.name.length > 14) ? " sv-long" : "";
  const verdict = el("div", `sv-verdict${long}`, "", badge, name);
  verdict.append(el("div", "sv-figures", "", sure, el("div", "sv-with-help", "", valueText, help(pane.quantity.term))));
  verdict.append(el("div", "sv-with-help", "", status, help("interpolated")));
  const distance = el("div", "sv-distance");
  verdict.append(distance);

  const figure = (kindName, className, title, term) => {
    const heading = el("div", "sv-caption");
    const state = el("div", "sv-state");
    const map = makeMap(kindName, canvasNode(className, title), many ? 44 : SCALE_SPACE);
    map.heading = heading;
    map.state = state;
    view.maps.push(map);
    const caption = el("figcaption", "", "", heading, help(term), state);
    return el("figure", `sv-figure sv-figure-${kindName}`, "", caption, map.node);
  };
  const share = pane.quantity.name === "share";
  const shift = figure(
    "shift", "sv-map-shift", `Heat map of the ${share ? pane.quantity.title : "loss"} over the shift`,
    share ? pane.quantity.term : "landscape",
  );
  const beyond = el("button", "sv-link");
  view.beyond = beyond;
  if (many) {
    view.title = el("h2", "sv-title", pane.title);
    view.title.title = pane.title;
    view.worst = makeJump("sv-jump-worst", "Worst case", "worst case", help);
    view.worst.text.append(beyond);
    view.node = el("section", "sv-pane", "", view.title, stage, verdict, shift, classes, view.worst.node);
  } else {
    const legend = makeLegend(pane, help);
    legend.append(beyond);
    const turn = figure("rotation", "sv-map-rotation", "Heat map of the loss over rotation and shift", "landscape");
    view.curve = makeCurve(canvasNode("sv-curve", "Loss over the rotation"), view.maps[1]);
    turn.append(view.curve.node);
    view.mapsNode = el("div", "sv-maps", "", el("div", "sv-shift-row", "", shift, legend), turn);
    const heading = el("div", "sv-caption", "class probabilities");
    const chances = el("div", "sv-chances", "", el("div", "sv-with-help", "", heading, help("probabilities")), classes);
    view.verdictNode = el("div", "sv-side", "", verdict, chances);
    view.stage = stage;
    view.strip = makeStrip(help);
  }

  let paint = null;
  let painted = null;
  const probabilities = new Float32Array(pane.classes.length);
  const one = new Float32Array(1);

  // The answer at a pose: the classifier's own where it has given one, otherwise from the grid.
  function answer(now, pose, limits, exact) {
    valueAt(now, now.probabilities, now.classes.length, pose, probabilities);
    let best = 0;
    probabilities.forEach((p, k) => (best = p > probabilities[best] ? k : best));
    const computed = AXES.every((d) => onGrid(now.axes[d], pose[d]));
    if (exact) {
      exact.probabilities?.forEach((p, k) => (probabilities[k] = p));
      const status = many ? "exact" : "exact, computed by the classifier";
      return { ...exact, value: exact[now.quantity.name], status, probabilities };
    }
    const wrong =
      now.trueColumn < 0 ? valueAt(now, now.signs, 1, pose, one)[0] < 0 : best !== now.trueColumn;
    return {
      index: now.classes[best].index,
      name: now.classes[best].name,
      confidence: probabilities[best],
      value: valueAt(now, now.values, 1, pose, one)[0],
      misclassified: wrong,
      status: computed ? "computed on the grid" : many ? "≈ interpolated" : "≈ interpolated from the grid",
      probabilities,
    };
  }

  function draw(state) {
    const { pose, limits, theme, smooth } = state;
    const now = view.pane;
    if (painted !== now) {
      paint = state.pictureOf(now);
      painted = now;
      view.thumbsStale = true;
    }
    const said = answer(now, pose, limits, view.exact);
    drawPicture(state, paint, smooth);
    for (const map of view.maps) {
      map.draw(now, limits, pose, theme);
      const turned = map.kind.fixed === "rotation";
      const at = turned ? `rotation ${number(pose.rotation, 1)}°` : `shift down ${number(pose.dy, 2)} px`;
      setText(map.heading, many ? `${now.quantity.title} at ${number(pose.rotation, 1)}°` : `${now.quantity.title.split(" (")[0]} at ${at}`);
      const swept = now.axes[map.kind.x].length > 1 || now.axes[map.kind.y].length > 1;
      setText(map.state, map.plane ? "computed" : swept ? "interpolated" : "not swept");
    }
    view.curve?.draw(now, limits, pose, theme, said.value);

    verdict.classList.toggle("sv-wrong", said.misclassified);
    setText(badge, `${said.misclassified ? "✕" : "✓"} ${verdictWord(now, said.misclassified)}`);
    setText(name, said.name);
    name.title = said.name;
    setText(sure, now.quantity.sure(said.confidence));
    setText(valueText, now.quantity.say(said.value));
    setText(status, said.status);
    distance.hidden = !state.distance;
    if (state.distance) setText(distance, `ℓ∞ distance ${largestChange(now, pose)}/255`);
    let sum = 0;
    for (const bar of bars) {
      const p = said.probabilities[bar.column];
      sum += p;
      bar.set(p, now.classes[bar.column].index === said.index);
    }
    const listed = bars.some((bar) => now.classes[bar.column].index === said.index);
    othersBar?.set(Math.max(0, 1 - sum), !listed);
    if (view.thumbsStale || state.restyle) thumbs(state);
    return said;
  }

  function drawPicture({ pose, limits, theme }, paintPicture, smooth) {
    const space = begin(view.picture);
    if (!space) return;
    const { context, w, h } = space;
    const { width: W, height: H } = view.pane.picture;
    const scale = Math.min(w / W, (h - KNOB_SPACE) / H);
    const size = { w: W * scale, h: H * scale };
    const box = { x: (w - size.w) / 2, y: KNOB_SPACE + (h - KNOB_SPACE - size.h) / 2, ...size };
    view.box = box;
    view.scale = scale;
    paintPicture(context, box, pose, smooth);
    view.knob = null;
    if (!limits.rotation) return;
    // The handle runs on a line above the picture and points where the picture's upper edge has gone.
    const reach = (w / 2) * clamp(Math.tan((limits.rotation * Math.PI) / 180), 0.2, 0.75);
    const knob = { x: w / 2 - (reach * pose.rotation) / limits.rotation, y: 11, reach };
    view.knob = knob;
    context.strokeStyle = theme.muted;
    context.lineWidth = 1.5;
    context.beginPath();
    context.moveTo(w / 2 - reach, knob.y);
    context.lineTo(w / 2 + reach, knob.y);
    context.moveTo(w / 2, knob.y - 4);
    context.lineTo(w / 2, knob.y + 4);
    context.stroke();
    context.fillStyle = theme.muted;
    context.font = `11px ${theme.font}`;
    context.textBaseline = "middle";
    const words = w / 2 - reach > 66 ? ["turn left", "turn right"] : ["left", "right"];
    context.textAlign = "right";
    context.fillText(words[0], w / 2 - reach - 12, knob.y);
    context.textAlign = "left";
    context.fillText(words[1], w / 2 + reach + 12, knob.y);
    context.beginPath();
    context.arc(knob.x, knob.y, 9, 0, 2 * Math.PI);
    context.fillStyle = theme.accent;
    context.fill();
    context.lineWidth = 2;
    context.strokeStyle = theme.background;
    context.stroke();
  }

  function thumbs({ smooth }) {
    view.thumbsStale = false;
    const now = view.pane;
    beyond.hidden = !now.beyond;
    if (now.beyond) {
      const { pose, value } = now.beyond;
      setText(beyond, `worse between the grid points: ${transformWords(pose)}, ${now.quantity.say(value)}`);
    }
    const { original, worst } = view.strip ?? view;
    for (const [part, pose] of [[original, HOME], [worst, now.worst]]) {
      if (!part) continue;
      const node = part.canvas;
      const space = begin(node);
      if (!space) continue;
      const { width: W, height: H } = now.picture;
      const scale = Math.min(space.w / W, space.h / H);
      const size = { w: W * scale, h: H * scale };
      paint(space.context, { x: (space.w - size.w) / 2, y: (space.h - size.h) / 2, ...size }, pose, smooth);
    }
    writeWorst(worst, now);
    if (original) writeOriginal(original, now);
  }
  return view;
}

function makeBar(name, tag) {
  const value = el("span", "sv-bar-value");
  const fill = el("span", "sv-bar-fill");
  const label = el("span", "sv-bar-name", "", el("span", "sv-bar-text", name));
  label.title = name;
  if (tag) label.append(el("span", "sv-tag", tag));
  const node = el("div", "sv-bar", "", label, el("span", "sv-bar-track", "", fill), value);
  return {
    node,
    set(p, predicted) {
      fill.style.transform = `scaleX(${clamp(p, 0, 1).toFixed(4)})`;
      node.classList.toggle("sv-bar-predicted", predicted);
      setText(value, percent(p));
    },
  };
}

// What the marks on the maps mean.
function makeLegend(pane, help) {
  const key = (mark, words, term) =>
    el("div", "sv-key", "", el("span", `sv-mark sv-mark-${mark}`), el("span", "", words), term ? help(term) : "");
  const region = key("line", pane.labelled ? "misclassified" : "changed", "misclassified region");
  return el("div", "sv-legend", "", key("ring", "this pose"), key("diamond", "worst case"), region, key("dot", "grid point", "grid"));
}

// A picture that is a button and takes the pose there, and words beside it.
function makeJump(className, label, term, help) {
  const canvas = canvasNode("sv-thumb-canvas", "");
  canvas.removeAttribute("role");
  canvas.setAttribute("aria-hidden", "true");
  const button = el("button", `sv-jump ${className}`, "", canvas);
  const heading = el("div", "sv-heading", label);
  const lines = ["badge", "name", "more", "more", "more"].map((part) => el("div", `sv-jump-${part}`));
  const text = el("div", "sv-jump-text", "", el("div", "sv-with-help", "", heading, help(term)), ...lines);
  return { canvas, button, heading, lines, text, node: el("div", "sv-jump-cell", "", button, text) };
}

// Original and worst case beside each other.
function makeStrip(help) {
  const original = makeJump("sv-jump-original", "Original", "padding", help);
  const worst = makeJump("sv-jump-worst", "Worst case", "worst case", help);
  return { node: el("div", "sv-strip", "", original.node, worst.node), original, worst };
}

function writeJump(part, pane, { name, misclassified, confidence, ...values }) {
  const { quantity } = pane;
  setText(part.lines[0], `${misclassified ? "✕" : "✓"} ${verdictWord(pane, misclassified)}`);
  part.node.classList.toggle("sv-wrong", misclassified);
  setText(part.lines[1], name);
  part.lines[1].title = name;
  setText(part.lines[2], `${quantity.sure(confidence)}, ${quantity.say(values[quantity.name])}`);
}

function writeOriginal(part, pane) {
  writeJump(part, pane, pane.natural);
  part.lines[0].hidden = !pane.labelled; // nothing to compare the original with
  part.button.setAttribute("aria-label", `Show the original: ${pane.natural.name}, ${percent(pane.natural.confidence)}`);
}

function writeWorst(part, pane) {
  const { worst, misclassified_count: failed, transforms } = pane;
  writeJump(part, pane, worst);
  const still = pane.labelled ? "correct" : "the same";
  setText(part.heading, worst.misclassified ? "Worst case" : `Strongest transform (still ${still})`);
  setText(part.lines[3], worst.words);
  const verb = pane.labelled ? "fail" : "change the prediction";
  setText(part.lines[4], `${failed} of ${transforms} transforms ${verb} (${percent(failed / transforms)})`);
  const what = `${worst.words}; ${worst.name}, ${percent(worst.confidence)}`;
  const of = pane.title ? ` of ${pane.title}` : "";
  part.button.setAttribute("aria-label", `Show the ${worst.misclassified ? "worst case" : "strongest transform"}${of}: ${what}`);
}

// ---------------------------------------------------------------------------------------------- mount

export function mount(element, firstPayload, callbacks = {}) {
  const root = el("div", "sv-explorer");
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", "Live explorer of rotations and shifts");
  element.append(root);
  const alive = new AbortController(); // ends every listener at once
  const on = (target, type, handler, options = {}) =>
    target.addEventListener(type, handler, { ...options, signal: alive.signal });

  const state = { pose: { ...HOME }, limits: { ...HOME }, smooth: false, theme: null, restyle: true, pictureOf };
  let payload = null;
  let shape = ""; // what the DOM was built for
  let sources = []; // payload panes as they came, to see what changed
  let views = [];
  let sliders = {};
  let live = null;
  let playButton = null;
  let committed = null;
  let frame = 0;
  let frames = 0;
  let timer = 0;
  let resting = 0;
  let held = false; // by a pointer, anywhere in the explorer
  let playing = 0;

  const observer = new ResizeObserver((entries) => {
    for (const { target, contentRect } of entries) {
      target.shownWidth = contentRect.width;
      target.shownHeight = contentRect.height;
    }
    for (const view of views) view.thumbsStale = true;
    paint(); // before the browser paints, so that a resized canvas never flashes empty
  });

  const pictures = new Map();

  // What draws the picture of a pane; panes with the same picture share it.
  function pictureOf(pane) {
    const { width, padding, pixels } = pane.picture;
    const key = `${width} ${padding} ${pixels}`;
    if (!pictures.has(key)) {
      if (pictures.size >= 8) pictures.clear();
      pictures.set(key, makePicture(pane));
    }
    return pictures.get(key);
  }

  // ---- pose

  const bounded = (pose) =>
    Object.fromEntries(AXES.map((d) => [d, clamp(Number(pose[d]) || 0, -state.limits[d], state.limits[d])]));

  // Poses made by hand are rounded to a tenth of a degree and a hundredth of a pixel, so that what is read is what is.
  function move(change, { exactly = false } = {}) {
    const next = bounded({ ...state.pose, ...change });
    if (!exactly) {
      for (const d of Object.keys(change)) {
        const digits = d === "rotation" ? 10 : 100;
        if (Math.abs(next[d]) < state.limits[d]) next[d] = Math.round(next[d] * digits) / digits;
      }
    }
    state.pose = next;
    request();
    rest();
  }

  // Ask for the denser maps, but never while the pose is being changed.
  function rest() {
    clearTimeout(resting);
    if (!payload.refining) return;
    resting = setTimeout(() => {
      if (held || !samePose(state.pose, committed)) rest();
      else callbacks.onRest?.();
    }, REST_MS);
  }

  function commit() {
    clearTimeout(timer);
    timer = 0;
    if (samePose(state.pose, committed)) return;
    committed = { ...state.pose };
    paint();
    const answers = views.map(({ pane, said }) => {
      const verdict = `${said.name}, ${percent(said.confidence)}, ${verdictWord(pane, said.misclassified)}`;
      return pane.title ? `${pane.title}: ${verdict}` : verdict;
    });
    setText(live, `${transformWords(state.pose)}. ${answers.join(". ")}`);
    callbacks.onCommit?.({ ...state.pose });
  }

  function commitSoon() {
    clearTimeout(timer);
    timer = setTimeout(commit, DEBOUNCE_MS);
  }

  function jump(pose) {
    stop();
    move(pose, { exactly: true });
    commit();
  }

  // ---- play: from the original to the worst case

  function stop() {
    if (playing) cancelAnimationFrame(playing);
    playing = 0;
    if (playButton) setText(playButton, "▶ Play");
  }

  function play() {
    if (playing) {
      stop();
      return commit();
    }
    const goal = views[0].pane.worst;
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return jump(pick(goal));
    setText(playButton, "■ Stop");
    let start = 0;
    const step = (now) => {
      start ||= now;
      const t = Math.min((now - start) / PLAY_MS, 1);
      const eased = t * t * (3 - 2 * t);
      move(Object.fromEntries(AXES.map((d) => [d, goal[d] * eased])), { exactly: true });
      if (t < 1) playing = requestAnimationFrame(step);
      else jump(pick(goal));
    };
    playing = requestAnimationFrame(step);
  }

  const pick = ({ rotation, dx, dy }) => ({ rotation, dx, dy });

  // ---- drawing

  function request() {
    frame ||= requestAnimationFrame(paint);
  }

  function paint() {
    if (frame) cancelAnimationFrame(frame);
    frame = 0;
    if (!views.length) return;
    state.theme ??= readTheme(root);
    zoom = root.currentCSSZoom ?? 1;
    const exact = payload.exact && samePose(payload.exact.pose, state.pose) ? payload.exact : null;
    views.forEach((view, i) => {
      view.exact = exact?.panes[i] ?? null;
      view.said = view.draw(state);
    });
    state.restyle = false;
    for (const axis of AXES) {
      const { input, output } = sliders[axis];
      input.value = state.pose[axis];
      const text = axis === "rotation" ? `${number(state.pose.rotation, 1)}°` : `${number(state.pose[axis], 2)} px`;
      setText(output, text);
      if (input.getAttribute("aria-valuetext") !== text) input.setAttribute("aria-valuetext", text);
    }
    frames += 1;
    Object.assign(root.dataset, {
      ...Object.fromEntries(AXES.map((d) => [d, String(state.pose[d])])),
      predicted: views[0].said.name,
      exact: String(Boolean(exact)),
      frames: String(frames),
      refining: String(payload.refining > 0),
      rev: String(payload.rev),
    });
  }

  on(root, "pointerdown", () => (held = true), { capture: true });
  for (const end of ["pointerup", "pointercancel"]) on(document, end, () => (held = false), { capture: true });

  // ---- the picture under the hand

  function handlePicture(view) {
    const canvas = view.picture;
    const pointers = new Map();
    let gesture = null;
    let left = 0;

    const middle = () => {
      const [a, b = a] = [...pointers.values()];
      return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, angle: Math.atan2(b.y - a.y, b.x - a.x) };
    };
    const begin = (turning) => {
      gesture = pointers.size ? { ...middle(), pose: { ...state.pose }, turning, fingers: pointers.size } : null;
    };
    on(canvas, "pointerdown", (event) => {
      if (event.button) return;
      stop();
      canvas.setPointerCapture(event.pointerId);
      const bounds = canvas.getBoundingClientRect();
      pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
      begin(Boolean(view.knob) && (event.clientY - bounds.top) / zoom < KNOB_SPACE);
      left = bounds.left; // measured once: asking again at every move would force a layout
      if (gesture.turning) turnTo((event.clientX - left) / zoom);
      canvas.classList.add("sv-held");
    });
    const turnTo = (x) => move({ rotation: ((canvas.shownWidth / 2 - x) / view.knob.reach) * state.limits.rotation });
    on(canvas, "pointermove", (event) => {
      if (!pointers.has(event.pointerId)) return;
      pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
      if (gesture.turning) return turnTo((event.clientX - left) / zoom);
      const now = middle();
      const change = {
        dx: gesture.pose.dx + (now.x - gesture.x) / (view.scale * zoom),
        dy: gesture.pose.dy + (now.y - gesture.y) / (view.scale * zoom),
      };
      if (gesture.fingers > 1) {
        const turn = ((now.angle - gesture.angle + 3 * Math.PI) % (2 * Math.PI)) - Math.PI;
        change.rotation = gesture.pose.rotation - (turn * 180) / Math.PI;
      }
      move(change);
      dismissHint();
    });
    const release = (event) => {
      if (!pointers.delete(event.pointerId)) return;
      begin(false);
      if (pointers.size) return;
      canvas.classList.remove("sv-held");
      commit();
    };
    on(canvas, "pointerup", release);
    on(canvas, "pointercancel", release);
    on(canvas, "wheel", (event) => {
      // Only once the picture has been touched: a visitor who merely scrolls past must not be caught.
      if (canvas.getRootNode().activeElement !== canvas || !state.limits.rotation) return;
      event.preventDefault();
      stop();
      move({ rotation: state.pose.rotation - Math.sign(event.deltaY || event.deltaX) });
      commitSoon();
    }, { passive: false });
    on(canvas, "keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const step = (d) => (state.limits[d] / 12) * (event.shiftKey ? 0.2 : 1);
      const { rotation, dx, dy } = state.pose;
      const change = {
        ArrowLeft: { dx: dx - step("dx") },
        ArrowRight: { dx: dx + step("dx") },
        ArrowUp: { dy: dy - step("dy") },
        ArrowDown: { dy: dy + step("dy") },
        "[": { rotation: rotation + 1 },
        "]": { rotation: rotation - 1 },
        "{": { rotation: rotation + 0.2 },
        "}": { rotation: rotation - 0.2 },
        0: HOME,
      }[event.key];
      if (!change) return;
      event.preventDefault();
      event.stopPropagation(); // the host has hot keys of its own
      stop();
      move(change);
      commitSoon();
    });
  }

  function handlePlot(plot, toPose) {
    const { node } = plot;
    let held = false;
    let bounds = null;
    const follow = (event) => {
      if (!plot.box) return;
      const x = clamp(((event.clientX - bounds.left) / zoom - plot.box.x) / plot.box.w, 0, 1);
      const y = clamp(((event.clientY - bounds.top) / zoom - plot.box.y) / plot.box.h, 0, 1);
      move(toPose(x, y));
    };
    on(node, "pointerdown", (event) => {
      if (event.button) return;
      stop();
      held = true;
      bounds = node.getBoundingClientRect();
      node.setPointerCapture(event.pointerId);
      follow(event);
    });
    on(node, "pointermove", (event) => held && follow(event));
    const release = () => {
      if (!held) return;
      held = false;
      commit();
    };
    on(node, "pointerup", release);
    on(node, "pointercancel", release);
  }

  const along = (axis, f) => -state.limits[axis] + 2 * state.limits[axis] * f;

  function remembered() {
    try {
      return localStorage.getItem(HINT_KEY) === "1";
    } catch {
      return false; // storage may be forbidden
    }
  }

  function dismissHint() {
    if (views.every((view) => view.hint.hidden)) return;
    for (const view of views) view.hint.hidden = true;
    try {
      localStorage.setItem(HINT_KEY, "1");
    } catch {
      // then the hint comes back with the next visit
    }
  }

  // ---- help

  const pop = el("div", "sv-pop");
  pop.setAttribute("role", "status");
  pop.hidden = true;
  let opener = null;

  function closeHelp(focus = false) {
    if (!opener) return;
    opener.setAttribute("aria-expanded", "false");
    if (focus) opener.focus();
    opener = null;
    pop.hidden = true;
  }

  function help(term) {
    const text = payload.glossary?.[term];
    if (!text) return "";
    const button = el("button", "sv-help", "?");
    button.setAttribute("aria-label", `What is this: ${term}`);
    opens(button, () => [el("strong", "", term), ` ${text}`]);
    return button;
  }

  // Has a button open the little panel with what `content` gives.
  function opens(button, content) {
    button.setAttribute("aria-expanded", "false");
    on(button, "click", () => {
      const again = opener === button;
      closeHelp();
      if (again) return;
      opener = button;
      button.setAttribute("aria-expanded", "true");
      pop.replaceChildren(...content());
      pop.hidden = false;
      const [outer, own] = [root.getBoundingClientRect(), button.getBoundingClientRect()];
      const left = clamp((own.left - outer.left) / zoom - 20, 0, Math.max(root.clientWidth - pop.offsetWidth, 0));
      const below = (own.bottom - outer.top) / zoom + 6;
      const above = (own.top - outer.top) / zoom - pop.offsetHeight - 6;
      pop.style.left = `${left}px`;
      pop.style.top = `${below + pop.offsetHeight > root.clientHeight && above > 0 ? above : below}px`;
    });
  }

  // ---- pictures to keep

  function saveChoices() {
    return Object.entries(FORMATS).map(([format, words]) => {
      const button = el("button", "sv-choice", words);
      on(button, "click", () => {
        closeHelp(true);
        save(format);
      });
      return button;
    });
  }

  async function save(format) {
    const captions = payload.panes.map((pane) => pane.caption).filter(Boolean);
    const name = payload.panes.map((pane) => `${pane.title} ${pane.label_name}`).join(" ");
    resolution = SCALE;
    restyled();
    try {
      await saveElement(root, captions, format, name, ".sv-buttons, .sv-help, .sv-live, .sv-hint, .sv-pop, input");
    } finally {
      resolution = 0;
      restyled();
    }
  }

  function restyled() {
    for (const view of views) view.thumbsStale = true;
    paint();
  }

  on(root, "keydown", (event) => {
    if (event.key !== "Escape" || !opener) return;
    event.stopPropagation();
    closeHelp(true);
  });
  on(document, "pointerdown", (event) => {
    if (!event.composedPath().some((node) => node === pop || node === opener)) closeHelp();
  });

  // ---- building the DOM

  function makeControls() {
    const box = el("div", "sv-controls");
    const words = { rotation: "rotation", dx: "shift right", dy: "shift down" };
    const rows = el("div", "sv-sliders");
    for (const axis of AXES) {
      const limit = state.limits[axis];
      const input = el("input");
      const output = el("output");
      input.type = "range";
      const reach = limit || 1; // a disabled slider rests in the middle
      Object.assign(input, { min: -reach, max: reach, step: axis === "rotation" ? 0.5 : limit <= 6 ? 0.05 : 0.25 });
      input.disabled = !limit;
      input.dataset.axis = axis;
      on(input, "input", () => {
        stop();
        move({ [axis]: Number(input.value) });
      });
      let keyed = false;
      on(input, "keydown", () => (keyed = true));
      on(input, "pointerdown", () => (keyed = false));
      on(input, "change", () => (keyed ? commitSoon() : commit()));
      sliders[axis] = { input, output };
      rows.append(el("label", "sv-slider", "", el("span", "", words[axis]), input, output));
    }
    const reset = el("button", "sv-button", "Reset");
    on(reset, "click", () => jump(HOME));
    playButton = el("button", "sv-button sv-play", "▶ Play");
    playButton.title = `From the original to the worst case${views.length > 1 ? ` of ${views[0].pane.title}` : ""}`;
    on(playButton, "click", play);
    const modes = el("div", "sv-modes");
    modes.setAttribute("role", "group");
    modes.setAttribute("aria-label", "How the picture is drawn");
    const titles = ["Pixels as the network sees them", "Drawn smoothly for the eye"];
    const pair = ["pixels", "smooth"].map((name, i) => {
      const button = el("button", "sv-button", name);
      button.title = titles[i];
      on(button, "click", () => {
        state.smooth = i === 1;
        pair.forEach((b, k) => b.setAttribute("aria-pressed", String((k === 1) === state.smooth)));
        for (const view of views) view.thumbsStale = true;
        request();
      });
      button.setAttribute("aria-pressed", String((i === 1) === state.smooth));
      modes.append(button);
      return button;
    });
    const keep = el("button", "sv-button sv-save", "⤓");
    keep.title = "Save what is shown as a picture";
    keep.setAttribute("aria-label", keep.title);
    opens(keep, saveChoices);
    box.append(rows, el("div", "sv-buttons", "", reset, playButton, keep, modes));
    return box;
  }

  function build(panes) {
    observer.disconnect();
    stop();
    closeHelp();
    sliders = {};
    const many = panes.length > 1;
    views = panes.map((pane) => makePane(pane, many, help));
    const controls = makeControls();
    live = el("div", "sv-live");
    live.setAttribute("aria-live", "polite");
    const notes = el("div", "sv-notes");
    root.className = `sv-explorer ${many ? `sv-many sv-many-${panes.length}` : "sv-single"}`;
    if (many) {
      controls.append(makeLegend(panes[0], help));
      root.replaceChildren(el("div", "sv-panes", "", ...views.map((v) => v.node)), controls, notes, live, pop);
    } else {
      const [view] = views;
      const hand = el("div", "sv-hand", "", view.stage, controls, notes);
      const grid = el("div", "sv-grid", "", hand, view.mapsNode, view.verdictNode, view.strip.node);
      root.replaceChildren(grid, live, pop);
      on(view.strip.original.button, "click", () => jump(HOME));
    }
    for (const view of views) {
      view.hint.hidden = remembered() || !(state.limits.dx || state.limits.dy);
      handlePicture(view);
      for (const map of view.maps) {
        handlePlot(map, (x, y) => ({ [map.kind.x]: along(map.kind.x, x), [map.kind.y]: along(map.kind.y, y) }));
      }
      if (view.curve) handlePlot(view.curve, (x) => ({ rotation: along("rotation", x) }));
      on(view.beyond, "click", () => jump(view.pane.beyond.pose));
      const { worst } = view.strip ?? view;
      on(worst.button, "click", () => jump(pick(view.pane.worst)));
    }
    for (const canvas of root.querySelectorAll("canvas")) observer.observe(canvas);
  }

  function update(next) {
    if (next.version !== 2) throw new Error(`explorer: payload version 2 expected, got ${next.version}`);
    const first = payload === null;
    const newPose = first || next.rev > payload.rev;
    payload = next;
    state.limits = { ...next.limits };
    state.distance = Boolean(next.distance);
    const nextShape = JSON.stringify([
      next.limits,
      next.quantity,
      next.panes.map((p) => [p.title, p.classes, p.label, p.labelled, p.class_count]),
      next.glossary,
    ]);
    const texts = next.panes.map((pane) => JSON.stringify(pane));
    const panes = next.panes.map((pane, i) =>
      nextShape === shape && texts[i] === sources[i] ? views[i].pane : decodePane(pane, next.quantity),
    );
    sources = texts;
    if (nextShape !== shape) build(panes);
    shape = nextShape;
    views.forEach((view, i) => (view.pane = panes[i]));
    if (newPose) {
      stop();
      state.pose = bounded(next.pose);
      committed = { ...state.pose };
    }
    root.querySelector(".sv-notes").replaceChildren(...(next.notes ?? []).map((note) => el("p", "", note)));
    state.theme = null; // a theme change arrives as an update, too
    state.restyle = true;
    request();
    rest();
  }

  update(firstPayload);
  return {
    update,
    destroy() {
      alive.abort();
      observer.disconnect();
      stop();
      clearTimeout(timer);
      clearTimeout(resting);
      if (frame) cancelAnimationFrame(frame);
      views = [];
      root.remove();
    },
  };
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

// ---------------------------------------------------------------------------------------------- Streamlit

const instances = new WeakMap();

export default function ({ data, parentElement, setStateValue, setTriggerValue }) {
  // Streamlit calls this again with the same parent whenever data or theme change; only the last cleanup runs.
  let instance = instances.get(parentElement);
  if (instance) {
    Object.assign(instance, { setStateValue, setTriggerValue });
    instance.view.update(data);
  } else {
    instance = { setStateValue, setTriggerValue, seq: 0 };
    const onCommit = (pose) => {
      instance.seq = Math.max(instance.seq + 1, Date.now()); // grows over remounts as well
      instance.setStateValue("pose", { ...pose, seq: instance.seq });
    };
    const onRest = () => instance.setTriggerValue("rest", true);
    instance.view = mount(parentElement, data, { onCommit, onRest });
    instances.set(parentElement, instance);
  }
  return () => {
    instance.view.destroy();
    instances.delete(parentElement);
  };
}
