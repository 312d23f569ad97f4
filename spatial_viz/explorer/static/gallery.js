// Thumbnails to click. data = {items: [{id, label, src, caption}], selected, wall}; a click sends one trigger, the id.
// A wall has larger pictures with captions; nothing on it is selected.

const SMALL = 64; // pictures up to this many pixels are shown as pixels, larger ones smoothly

export function mount(element, data, onSelect) {
  const root = document.createElement("div");
  root.className = "sv-gallery";
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", "Pictures");
  element.appendChild(root);
  let shown = null;
  let buttons = [];
  let selectable = true;

  function select(id) {
    if (!selectable) return;
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.id === id));
  }

  function build(items) {
    buttons = items.map(({ id, label, src, caption }) => {
      const button = document.createElement("button");
      const image = document.createElement("img");
      button.type = "button";
      button.className = "sv-thumb";
      button.dataset.id = id;
      button.title = label;
      image.alt = label;
      image.decoding = "async";
      image.addEventListener("load", () => image.classList.toggle("sv-small", image.naturalWidth <= SMALL));
      image.src = src;
      button.append(image);
      if (caption) {
        const words = document.createElement("span");
        words.textContent = caption;
        words.setAttribute("aria-hidden", "true"); // the picture's label says it, too
        button.append(words);
      }
      button.addEventListener("click", () => {
        if (button.getAttribute("aria-pressed") === "true") return;
        select(id);
        onSelect(id);
      });
      return button;
    });
    root.replaceChildren(...buttons);
  }

  function update({ items, selected, wall = false }) {
    selectable = !wall;
    root.classList.toggle("sv-wall", wall);
    const now = JSON.stringify(items);
    if (now !== shown) build(items);
    select(selected);
    shown = now;
  }

  update(data);
  return { update, destroy: () => root.remove() };
}

const instances = new WeakMap();

export default function ({ data, parentElement, setTriggerValue }) {
  // Called again with the same parent whenever data or theme change.
  let instance = instances.get(parentElement);
  if (instance) {
    instance.send = setTriggerValue;
    instance.view.update(data);
  } else {
    instance = { send: setTriggerValue };
    instance.view = mount(parentElement, data, (id) => instance.send("clicked", id));
    instances.set(parentElement, instance);
  }
  return () => {
    instance.view.destroy();
    instances.delete(parentElement);
  };
}
