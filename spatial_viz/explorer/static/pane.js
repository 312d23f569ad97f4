// One classifier and its picture: the picture under the hand, maps, verdict, class probabilities, worst case.

const KNOB_SPACE = 24; // above the picture, for the rotation handle
const FEW = 4; // bars per pane where several panes are compared

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
      const { fixed } = map.kind;
      const at = valueWords(fixed, pose[fixed]);
      const where = `${fixed === "rotation" ? "rotation" : "shift down"} ${at}`;
      setText(map.heading, many ? `${now.quantity.title} at ${at}` : `${now.quantity.title.split(" (")[0]} at ${where}`);
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
