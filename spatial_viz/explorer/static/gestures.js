// What a hand does to the pose: drags, turns, wheel and keys on the picture; a drag on a map or the curve.
//
// The last argument is how the explorer is steered: its `state`, `on(target, type, handler, options)`, `move(change)`,
// `stop()`, `commit()`, `commitSoon()`, and `touched()` for the first drag.

function handlePicture(view, { state, on, move, stop, commit, commitSoon, touched }) {
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
    touched();
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

function handlePlot(plot, toPose, { on, move, stop, commit }) {
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
