// The live explorer: drag a picture and watch the classifier's answer follow.
//
// mount(element, payload, callbacks) knows nothing of its host and returns {update(payload), destroy()}. The payload is
// described in payload.py. The whole swept grid is in the browser, so nothing is sent while a pose changes;
// callbacks.onCommit(pose) is called once when the visitor lets go, callbacks.onRest() while the picture rests and the
// payload says that denser maps are being computed. It comes after the files that it uses: assets.py joins them to one
// script with one set of names.

const PLAY_MS = 2500;
const DEBOUNCE_MS = 200;
const REST_MS = 400; // between two questions for denser maps, while the picture rests
const HINT_KEY = "spatial-viz-dragged";

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

  const steer = { state, on, move, stop, commit, commitSoon, touched: dismissHint };
  const panel = makePanel(root, on);

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
      const text = valueWords(axis, state.pose[axis]);
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

  // ---- the hint

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

  function help(term) {
    const text = payload.glossary?.[term];
    if (!text) return "";
    const button = el("button", "sv-help", "?");
    button.setAttribute("aria-label", `What is this: ${term}`);
    panel.opens(button, () => [el("strong", "", term), ` ${text}`]);
    return button;
  }

  // ---- pictures to keep

  function saveChoices() {
    return Object.entries(FORMATS).map(([format, words]) => {
      const button = el("button", "sv-choice", words);
      on(button, "click", () => {
        panel.close(true);
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
    panel.opens(keep, saveChoices);
    box.append(rows, el("div", "sv-buttons", "", reset, playButton, keep, modes));
    return box;
  }

  const along = (axis, f) => {
    const [lo, hi] = range(state.limits, axis);
    return lo + (hi - lo) * f;
  };

  function build(panes) {
    observer.disconnect();
    stop();
    panel.close();
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
      root.replaceChildren(el("div", "sv-panes", "", ...views.map((v) => v.node)), controls, notes, live, panel.node);
    } else {
      const [view] = views;
      const hand = el("div", "sv-hand", "", view.stage, controls, notes);
      const grid = el("div", "sv-grid", "", hand, view.mapsNode, view.verdictNode, view.strip.node);
      root.replaceChildren(grid, live, panel.node);
      on(view.strip.original.button, "click", () => jump(HOME));
    }
    for (const view of views) {
      view.hint.hidden = remembered() || !(state.limits.dx || state.limits.dy);
      handlePicture(view, steer);
      for (const map of view.maps) {
        handlePlot(map, (x, y) => ({ [map.kind.x]: along(map.kind.x, x), [map.kind.y]: along(map.kind.y, y) }), steer);
      }
      if (view.curve) handlePlot(view.curve, (x) => ({ rotation: along("rotation", x) }), steer);
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
