// "Download and share": pictures of the page's figures, and a link to the view. Sent behind save_image.js, as one script.
// data = {file, figures: [{key, name}], note}: figures are found by the class that the host gives to the element of that
// key, several of one element by "key:number"; note is what the link, the browser's address, leaves out.

function mountTaking(element, firstData) {
  const node = (tag, className, text, ...children) => {
    const made = Object.assign(document.createElement(tag), { className, textContent: text });
    made.append(...children);
    return made;
  };
  let data = firstData;
  const root = node("div", "sv-downloads", "");
  const said = node("span", "sv-said", "");
  said.setAttribute("role", "status");
  const choice = node("select", "", "");
  choice.setAttribute("aria-label", "Figure");
  const buttons = Object.entries(FORMATS).map(([format, words]) => {
    const button = node("button", "", words);
    button.type = "button";
    button.addEventListener("click", () => save(format));
    return button;
  });
  const pictures = node("div", "sv-row", "", node("span", "", "Picture of"), choice, ...buttons);
  const copy = node("button", "", "Copy link");
  copy.type = "button";
  copy.addEventListener("click", copyLink);
  const address = node("input", "", "");
  address.readOnly = true;
  address.hidden = true;
  address.setAttribute("aria-label", "Link to this view");
  root.append(pictures, node("div", "sv-row", "", copy, address, said));
  element.append(root);

  async function save(format) {
    const { key, name } = data.figures.find((figure) => figure.key === choice.value) ?? data.figures[0];
    const [element, number] = key.split(":");
    const plot = document.querySelectorAll(`.st-key-${CSS.escape(element)} .js-plotly-plot`)[Number(number ?? 0)];
    if (!plot || !window.Plotly) {
      said.textContent = "This figure is not on the page yet.";
      return;
    }
    for (const button of buttons) button.disabled = true;
    const flat = plot.closest('[data-flat="true"]');
    said.textContent = "";
    try {
      await savePlot(plot, window.Plotly, format, flat ? `${data.file} ${name} from above` : `${data.file} ${name}`);
      if (flat) said.textContent = "WebGL is off in this browser: saved as a heat map, from above.";
    } catch (error) {
      said.textContent = `The picture could not be made: ${error?.message ?? error}.`;
    } finally {
      for (const button of buttons) button.disabled = false;
    }
  }

  async function copyLink() {
    address.value = window.location.href;
    let copied = true;
    try {
      await navigator.clipboard.writeText(address.value);
    } catch {
      copied = false; // browsers allow it on localhost and over https only
    }
    address.hidden = copied;
    if (!copied) address.select();
    said.textContent = [copied ? "Copied." : "Copy it from here.", data.note].filter(Boolean).join(" ");
  }

  function update(next) {
    data = next;
    const known = choice.value;
    choice.replaceChildren(...data.figures.map(({ key, name }) => Object.assign(node("option", "", name), { value: key })));
    if (data.figures.some(({ key }) => key === known)) choice.value = known;
    pictures.hidden = !data.figures.length;
  }

  update(firstData);
  return { update, destroy: () => root.remove() };
}

const takings = new WeakMap();

export default function ({ data, parentElement }) {
  // Called again with the same parent whenever data or theme change.
  const known = takings.get(parentElement);
  if (known) known.update(data);
  else takings.set(parentElement, mountTaking(parentElement, data));
  return () => {
    takings.get(parentElement)?.destroy();
    takings.delete(parentElement);
  };
}
