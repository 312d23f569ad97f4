// The swept grid between its points, and the outline of where the classifier is wrong.

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
