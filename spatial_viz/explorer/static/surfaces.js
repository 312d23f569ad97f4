// Surfaces side by side under one camera: turn one, and all of them follow. Sent behind flat.js, as one script: without
// WebGL they are heat maps, which nobody turns.
//
// mount(element, data) knows nothing of its host and returns {update(data), destroy()}. data is {plotly, figures}:
// where plotly.js is to be had, and a list of {title, alt, figure}, each figure with one scene. Plotly links no cameras,
// and says nothing while a finger turns a scene; so it draws only, and turning is done here, by pointer, wheel and keys.

const RADIANS = 0.008; // per pixel that a pointer moves
const STEP = Math.PI / 36; // per press of an arrow key
const ZOOM = 1.1; // per notch of the wheel, or press of a key
const NEAR = 0.6; // the camera's distance from the middle, in widths of the scene
const FAR = 5;
const STEEP = 1.5; // radians above or below the ground; at the pole left and right would swap
const AHEAD = "500px"; // surfaces are drawn once they are so near the screen: Plotly is large

const node = (tag, className, ...children) => {
  const made = document.createElement(tag);
  made.className = className;
  made.append(...children);
  return made;
};

// Plotly, once per page.
function library(source) {
  if (window.Plotly) return Promise.resolve(window.Plotly);
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = new URL(`.${source}`, location.href);
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => reject(new Error("plotly.js did not come"));
    document.head.append(script);
  });
}

// A camera as angles and distance about its own centre, and back.
function toAngles({ eye, center }) {
  const [x, y, z] = ["x", "y", "z"].map((d) => eye[d] - (center?.[d] ?? 0));
  const distance = Math.hypot(x, y, z);
  return { azimuth: Math.atan2(y, x), height: Math.asin(z / distance), distance };
}

function toCamera({ azimuth, height, distance }, center) {
  const flat = distance * Math.cos(height);
  const eye = {
    x: center.x + flat * Math.cos(azimuth),
    y: center.y + flat * Math.sin(azimuth),
    z: center.z + distance * Math.sin(height),
  };
  return { eye, center, up: { x: 0, y: 0, z: 1 } };
}

export function mount(element, firstData) {
  const grid = node("div", "sv-surfaces-grid");
  const reset = node("button", "sv-surfaces-reset", "Reset the view");
  reset.type = "button";
  const several = firstData.figures.length > 1;
  const hands = several ? "Drag one, and all of them turn. With the focus on one:" : "Drag to turn. With the focus on it:";
  const hint = node("p", "sv-surfaces-hint", `${hands} arrow keys, + and −, 0 resets.`);
  const foot = hasWebGL() ? [reset, hint] : [node("p", "sv-surfaces-hint", NO_WEBGL)];
  const root = node("div", "sv-surfaces", grid, node("div", "sv-surfaces-foot", ...foot));
  root.dataset.flat = String(!hasWebGL());
  element.append(root);
  const alive = new AbortController();
  const on = (target, type, handler, options = {}) =>
    target.addEventListener(type, handler, { ...options, signal: alive.signal });

  let data = firstData;
  let plots = []; // the elements that Plotly draws in
  let Plotly = null;
  let home = null; // {angles, center} of the figures
  let angles = null;
  let frame = 0;
  let near = false;

  // ---- turning

  function turn(change) {
    if (!angles) return;
    const next = { ...angles, ...change };
    next.height = Math.min(Math.max(next.height, -STEEP), STEEP);
    next.distance = Math.min(Math.max(next.distance, NEAR), FAR);
    angles = next;
    frame ||= requestAnimationFrame(follow);
  }

  function follow() {
    frame = 0;
    const camera = toCamera(angles, home.center);
    for (const plot of plots) if (plot.drawn) Plotly.relayout(plot, { "scene.camera": structuredClone(camera) });
  }

  function handle(plot) {
    const pointers = new Map();
    let from = null;
    const gesture = () => {
      const [a, b = a] = [...pointers.values()];
      return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, apart: Math.hypot(a.x - b.x, a.y - b.y) };
    };
    const begin = () => (from = pointers.size ? { ...gesture(), angles } : null);
    on(plot, "pointerdown", (event) => {
      if (event.button || !angles) return;
      pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
      plot.setPointerCapture(event.pointerId);
      plot.classList.add("sv-held");
      begin();
    });
    on(plot, "pointermove", (event) => {
      if (!pointers.has(event.pointerId)) return;
      pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
      const now = gesture();
      turn({
        azimuth: from.angles.azimuth - RADIANS * (now.x - from.x),
        height: from.angles.height + RADIANS * (now.y - from.y),
        distance: from.apart && now.apart ? (from.angles.distance * from.apart) / now.apart : from.angles.distance,
      });
    });
    const release = (event) => {
      if (!pointers.delete(event.pointerId)) return;
      begin();
      if (!pointers.size) plot.classList.remove("sv-held");
    };
    on(plot, "pointerup", release);
    on(plot, "pointercancel", release);
    // Plotly would keep every touch to itself, and nobody could scroll past a surface.
    for (const type of ["touchstart", "touchmove", "touchend"]) {
      on(plot, type, (event) => event.stopPropagation(), { capture: true, passive: true });
    }
    on(plot, "wheel", (event) => {
      event.stopPropagation();
      if (document.activeElement !== plot || !angles) return; // a visitor who merely scrolls past must not be caught
      event.preventDefault();
      turn({ distance: angles.distance * (event.deltaY > 0 ? ZOOM : 1 / ZOOM) });
    }, { capture: true, passive: false });
    on(plot, "keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || !angles) return;
      if (event.key === "Escape") return plot.blur();
      const change = {
        ArrowLeft: { azimuth: angles.azimuth - STEP },
        ArrowRight: { azimuth: angles.azimuth + STEP },
        ArrowUp: { height: angles.height + STEP },
        ArrowDown: { height: angles.height - STEP },
        "+": { distance: angles.distance / ZOOM },
        "=": { distance: angles.distance / ZOOM },
        "-": { distance: angles.distance * ZOOM },
        0: home.angles,
      }[event.key];
      if (!change) return;
      event.preventDefault();
      event.stopPropagation(); // the host has hot keys of its own
      turn(change);
    });
  }

  on(reset, "click", () => home && turn(home.angles));

  // ---- drawing

  const looking = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    looking.disconnect();
    near = true;
    draw();
  }, { rootMargin: AHEAD });

  const sizes = new ResizeObserver((entries) => {
    for (const { target } of entries) if (target.drawn && target.clientWidth) Plotly.Plots.resize(target);
  });

  function build() {
    sizes.disconnect();
    for (const plot of plots) if (plot.drawn) Plotly.purge(plot);
    plots = data.figures.map(() => node("div", "sv-surface"));
    plots.forEach((plot) => {
      plot.setAttribute("role", hasWebGL() ? "application" : "img");
      sizes.observe(plot);
      if (!hasWebGL()) return;
      plot.tabIndex = 0;
      handle(plot);
    });
    grid.dataset.count = plots.length;
    grid.replaceChildren(...plots.map((plot) => node("figure", "sv-surface-figure", node("figcaption", "sv-surface-title"), plot)));
  }

  async function draw() {
    if (!near) return;
    try {
      Plotly ??= await library(data.plotly);
    } catch {
      return grid.replaceChildren(node("p", "sv-surfaces-hint", "The surfaces cannot be drawn: plotly.js did not come. Load the page again."));
    }
    if (alive.signal.aborted) return;
    const camera = toCamera(angles, home.center);
    const drawn = data.figures.map(({ figure }, i) => {
      const shown = hasWebGL() ? figure : fromAbove(figure);
      const { width, ...layout } = shown.layout;
      layout.autosize = true;
      layout.dragmode = false;
      if (layout.scene) layout.scene = { ...layout.scene, camera: structuredClone(camera), dragmode: false };
      return Plotly.react(plots[i], shown.data, layout, { displayModeBar: false, responsive: false });
    });
    await Promise.all(drawn);
    for (const plot of plots) plot.drawn = true;
    root.dataset.drawn = "true";
    if (hasWebGL()) follow();
  }

  function update(next) {
    const count = data.figures.length;
    data = next;
    if (!plots.length || next.figures.length !== count) build();
    data.figures.forEach(({ title, alt, figure }, i) => {
      plots[i].style.height = `${figure.layout.height}px`;
      plots[i].setAttribute("aria-label", hasWebGL() ? `${alt} Arrow keys turn it.` : alt);
      plots[i].previousSibling.textContent = title;
      plots[i].previousSibling.hidden = !title;
    });
    const camera = data.figures[0].figure.layout.scene.camera;
    home = { angles: toAngles(camera), center: { x: 0, y: 0, z: 0, ...camera.center } };
    angles ??= home.angles;
    root.dataset.drawn = "false";
    draw();
  }

  update(firstData);
  looking.observe(root);
  return {
    update,
    destroy() {
      alive.abort();
      looking.disconnect();
      sizes.disconnect();
      if (frame) cancelAnimationFrame(frame);
      for (const plot of plots) if (plot.drawn) Plotly.purge(plot);
      root.remove();
    },
  };
}

const instances = new WeakMap();

export default function ({ data, parentElement }) {
  // Called again with the same parent whenever data or theme change.
  const instance = instances.get(parentElement);
  if (instance) instance.update(data);
  else instances.set(parentElement, mount(parentElement, data));
  return () => {
    instances.get(parentElement)?.destroy();
    instances.delete(parentElement);
  };
}
