// The heat maps of a pane and the curve under the second of them.

const KINDS = {
  shift: { x: "dx", y: "dy", fixed: "rotation", nx: 49, ny: 49 },
  rotation: { x: "rotation", y: "dx", fixed: "dy", nx: 121, ny: 25 },
};
const HATCH = 4; // points of the drawn field between two lines
const MARGIN = { left: 46, right: 14, top: 10, bottom: 36 }; // room for a mark that sits on the frame
const SCALE_SPACE = 66; // right of the square map: the colour bar with its ticks and title

// From left to right, or from top to bottom, the same as in every figure (falls() of figures/descriptions.py): a rotation to the
// left lies left, shifts lie where they lead.
function range(limits, axis) {
  const limit = limits[axis] || (axis === "rotation" ? 1 : 0.5); // a single value is drawn as a plain field
  return axis === "rotation" ? [limit, -limit] : [-limit, limit];
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
