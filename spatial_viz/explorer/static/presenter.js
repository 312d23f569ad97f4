// The hands of the lecture page: keys, the screen, the focus. data = {step, count, title, full, screen}; a trigger
// "turn" with the number of the step to show, a trigger "full" with whether the lecture shall fill the screen, and a
// state "screen", the {width, height} of the window in CSS pixels, which comes back in the data once it is known.
//
// What is sent in the same moment as something of a fragment makes Streamlit run that fragment alone, and the page does
// not follow. So what has not come after a while is sent once more.
//
// Page Up and Page Down always turn the step, as clickers do; the arrow keys only while nothing has the focus that
// could want them. Escape leaves what has the focus, and the full screen where nothing has it.

const ROOT = document.documentElement;
const CHOOSING = "sv-lecture-choosing";
const RESIZE_MS = 250; // without a change before the size of the window is told
const AGAIN_MS = 2500; // before that; a browser that is busy loading Plotly does not hear sooner what has come
const PLOTS = ".js-plotly-plot, canvas, [data-testid=stPlotlyChart], [data-testid=stDataFrame]";
const CONTROLS =
  "a[href], button, input, select, textarea, summary, [contenteditable=true], [role=slider], [role=combobox], " +
  `[role=listbox], [role=option], [role=radio], [role=tab], [role=application], ${PLOTS}`;

// What has the focus, through shadow roots.
function focused() {
  let node = document.activeElement;
  while (node?.shadowRoot?.activeElement) node = node.shadowRoot.activeElement;
  return node === document.body || node === ROOT ? null : node;
}

function button(words, className = "") {
  const node = document.createElement("button");
  node.type = "button";
  node.className = `sv-lecture-button ${className}`;
  node.textContent = words;
  return node;
}

export function mount(element, firstData, send, tell) {
  const alive = new AbortController();
  const on = (target, type, handler, options = {}) =>
    target.addEventListener(type, handler, { ...options, signal: alive.signal });
  let data = firstData;
  const wanted = { turn: null, full: null }; // what was asked for and is not yet shown
  let again = 0;
  let resizing = 0;
  let plot = false; // whether the pointer touched a plot or a canvas last; a plot may be drawn anew at a touch
  let byPointer = false; // whether the last thing that was operated was operated by a pointer

  const root = document.createElement("div");
  root.className = "sv-lecture-screen";
  const choose = button("Choose", "sv-lecture-choose");
  choose.title = "Picture, classifier and limits";
  const screen = button("Full screen");
  const live = document.createElement("div");
  live.className = "sv-lecture-live";
  live.setAttribute("aria-live", "polite");
  root.append(choose, screen, live);
  element.append(root);

  const isFull = () => wanted.full ?? data.full; // or will be

  const choosing = (open) => {
    ROOT.classList.toggle(CHOOSING, open);
    choose.setAttribute("aria-expanded", String(open));
  };

  function fill(full) {
    // A refusal leaves the large type without the browser's full screen.
    if (full) {
      ROOT.requestFullscreen?.().then(() => navigator.keyboard?.lock?.(["Escape"])).catch(() => {});
    } else if (document.fullscreenElement) {
      document.exitFullscreen().catch(() => {});
    }
    wanted.full = full;
    ask();
  }

  function turn(by) {
    const now = wanted.turn ?? data.step;
    const step = Math.min(Math.max(now + by, 1), data.count);
    if (step === now) return;
    wanted.turn = step;
    ask();
  }

  const sizeIsKnown = () => data.screen?.width === window.innerWidth && data.screen?.height === window.innerHeight;

  const forget = () => Object.assign(wanted, { turn: null, full: null });

  function sendAll() {
    for (const [name, value] of Object.entries(wanted)) {
      if (value !== null) send(name, value);
    }
    if (!sizeIsKnown()) tell("screen", { width: window.innerWidth, height: window.innerHeight });
  }

  function ask() {
    const { step } = data;
    sendAll();
    clearTimeout(again);
    again = setTimeout(() => {
      if (data.step !== step) forget(); // whoever turned since then wanted something else
      sendAll();
      again = setTimeout(forget, AGAIN_MS);
    }, AGAIN_MS);
  }

  on(window, "resize", () => {
    clearTimeout(resizing);
    resizing = setTimeout(ask, RESIZE_MS);
  });
  on(choose, "click", () => choosing(!ROOT.classList.contains(CHOOSING)));
  on(screen, "click", () => fill(!isFull()));
  on(document, "fullscreenchange", () => {
    if (document.fullscreenElement || !isFull()) return;
    wanted.full = false;
    ask();
  });
  on(document, "pointerdown", (event) => {
    byPointer = true;
    plot = event.composedPath().some((node) => node.matches?.(PLOTS));
  }, { capture: true });

  on(window, "keydown", (event) => {
    byPointer = false;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const page = { PageDown: 1, PageUp: -1 }[event.key];
    const arrow = event.shiftKey ? 0 : { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const held = focused();
    const busy = plot || Boolean(held?.closest(CONTROLS));
    const by = page || (busy ? 0 : arrow);
    if (!by) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    turn(by);
  }, { capture: true });

  // Not captured: what has the focus may have a use for Escape of its own.
  on(window, "keydown", (event) => {
    if (event.key !== "Escape" || event.defaultPrevented) return;
    const held = focused();
    if (plot || held) {
      plot = false;
      held?.blur();
    } else if (ROOT.classList.contains(CHOOSING)) {
      choosing(false);
    } else if (isFull()) {
      fill(false);
    }
  });

  function update(next) {
    const turned = next.step !== data.step;
    data = next;
    root.dataset.known = String(sizeIsKnown());
    if (wanted.turn === data.step) wanted.turn = null;
    if (wanted.full === data.full) wanted.full = null;
    screen.textContent = data.full ? "End full screen" : "Full screen";
    screen.setAttribute("aria-pressed", String(data.full));
    if (!data.full) choosing(false);
    if (!turned) return;
    live.textContent = `Step ${data.step} of ${data.count}: ${data.title}`;
    plot = false;
    // Else the button just clicked would keep the arrow keys from turning on.
    if (byPointer) focused()?.blur();
    document.querySelector("[data-testid=stMain]")?.scrollTo(0, 0);
  }

  choosing(false);
  update(firstData);
  ask();
  return {
    update,
    destroy() {
      alive.abort();
      clearTimeout(again);
      clearTimeout(resizing);
      ROOT.classList.remove(CHOOSING);
      root.remove();
    },
  };
}

const instances = new WeakMap();

export default function ({ data, parentElement, setTriggerValue, setStateValue }) {
  // Called again with the same parent whenever data or theme change.
  let instance = instances.get(parentElement);
  if (instance) {
    Object.assign(instance, { send: setTriggerValue, tell: setStateValue });
    instance.view.update(data);
  } else {
    instance = { send: setTriggerValue, tell: setStateValue };
    const send = (name, value) => instance.send(name, value);
    instance.view = mount(parentElement, data, send, (name, value) => instance.tell(name, value));
    instances.set(parentElement, instance);
  }
  return () => {
    instance.view.destroy();
    instances.delete(parentElement);
  };
}
