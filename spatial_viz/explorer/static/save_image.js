// Pictures of what is on the page, made by the browser alone: PNG at three times the size, or SVG.
//
// savePlot takes a figure of Plotly, saveElement any part of the page. Both put a caption below, so that a picture that
// is taken along still says what it shows. Nothing here knows the host.

const SCALE = 3; // of a PNG, over the size on the page
const CAPTION = { size: 11, line: 15, pad: 10 }; // CSS pixels
export const FORMATS = { png: "PNG, three times the size", svg: "SVG" };

// A figure of Plotly, by the Plotly that drew it. Its layout.meta may have a caption.
export async function savePlot(plot, Plotly, format, name) {
  const width = Math.round(plot.clientWidth);
  const height = Math.round(plot.clientHeight);
  // Only data and layout: a surface is drawn anew, at the resolution of the picture and with the camera as it is.
  const figure = { data: plot.data, layout: plot.layout, config: { plotGlPixelRatio: SCALE } };
  const options = { format, width, height, scale: format === "png" ? SCALE : 1 };
  const uri = await Plotly.toImage(figure, options);
  const box = { x: 0, y: 0, w: width, h: height };
  const item = format === "png" ? { image: uri, ...box } : { drawing: decodeURIComponent(uri.slice(uri.indexOf(",") + 1)), ...box };
  await keep({ width, height, items: [item], ...looks(plot) }, [plot.layout.meta?.caption ?? ""], format, name);
}

// A part of the page as it looks: its canvases, boxes and texts. What `skip` selects is left out.
export async function saveElement(root, captions, format, name, skip) {
  const { width, height } = root.getBoundingClientRect();
  await keep({ width, height, items: itemsOf(root, skip), ...looks(root) }, captions, format, name);
}

async function keep(picture, captions, format, name) {
  const whole = framed(picture, captions.filter(Boolean));
  const blob = format === "png" ? await toPng(whole) : new Blob([toSvg(whole)], { type: "image/svg+xml" });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `${fileName(name)}.${format}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

const fileName = (words) => words.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-+|-+$/g, "").slice(0, 80) || "picture";

// The colours and the font of a place on the page; the background is the first that is not transparent.
function looks(node) {
  const style = getComputedStyle(node);
  let background = "#ffffff";
  for (let at = node; at; at = at.parentElement ?? at.getRootNode().host) {
    const [colour, alpha] = plainColour(getComputedStyle(at).backgroundColor);
    if (alpha < 1) continue;
    background = colour;
    break;
  }
  return { background, text: plainColour(style.color)[0], family: style.fontFamily };
}

// The picture with a margin around it and its captions below.
function framed({ width, height, items, background, text, family }, captions) {
  const pad = CAPTION.pad;
  const font = { size: CAPTION.size, weight: "400", family };
  const lines = captions.flatMap((caption) => brokenAt(caption, width, font));
  const moved = items.map((item) => ({ ...item, x: item.x + pad, y: item.y + pad }));
  const below = lines.map((line, i) => ({
    text: line, x: pad, y: height + 2 * pad + CAPTION.size + i * CAPTION.line, font, fill: text, alpha: 0.75,
  }));
  const tall = height + (lines.length ? 3 : 2) * pad + lines.length * CAPTION.line;
  return { width: Math.ceil(width + 2 * pad), height: Math.ceil(tall), background, items: [...moved, ...below] };
}

function brokenAt(words, width, font) {
  const lines = [""];
  for (const word of words.split(" ")) {
    const longer = lines.at(-1) ? `${lines.at(-1)} ${word}` : word;
    if (widthOf(longer, font) <= width || !lines.at(-1)) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines;
}

// ---------------------------------------------------------------------------------------------- reading the page

const ruler = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
const cssFont = ({ weight, size, family }) => `${weight} ${size}px ${family}`;

function widthOf(text, font) {
  ruler.font = cssFont(font);
  return ruler.measureText(text).width;
}

// Any colour of CSS as [#rrggbb, opacity], which every program that opens an SVG understands.
function plainColour(css) {
  ruler.clearRect(0, 0, 1, 1);
  ruler.fillStyle = "#000";
  ruler.fillStyle = css;
  ruler.fillRect(0, 0, 1, 1);
  const [r, g, b, a] = ruler.getImageData(0, 0, 1, 1).data;
  return [`#${[r, g, b].map((v) => v.toString(16).padStart(2, "0")).join("")}`, a / 255];
}

function itemsOf(root, skip) {
  const origin = root.getBoundingClientRect();
  const items = [];
  const visit = (node) => {
    if (node.nodeType === Node.TEXT_NODE) return items.push(...textItems(node, origin));
    if (node.nodeType !== Node.ELEMENT_NODE || (skip && node.matches(skip))) return;
    const style = getComputedStyle(node);
    if (style.display === "none" || style.visibility === "hidden") return;
    const bounds = node.getBoundingClientRect();
    if (!bounds.width || !bounds.height) return;
    const box = { x: bounds.left - origin.left, y: bounds.top - origin.top, w: bounds.width, h: bounds.height };
    if (node.tagName === "CANVAS") return items.push({ image: node.toDataURL("image/png"), ...box });
    const rectangle = rectangleOf(node, style, box);
    if (rectangle) items.push(rectangle);
    node.childNodes.forEach(visit);
  };
  visit(root);
  return items;
}

// Background and border of an element, or null where it has neither.
function rectangleOf(node, style, { x, y, w, h }) {
  const width = parseFloat(style.borderTopWidth) || 0;
  const shades = style.backgroundImage.match(/(?:rgba?|color)\([^)]*\)/)?.[0]; // of a gradient the first colour
  const [fill, alpha] = plainColour(shades ?? style.backgroundColor);
  const [stroke, strokeAlpha] = plainColour(style.borderTopColor);
  if (!alpha && !(width && strokeAlpha)) return null;
  const matrix = new DOMMatrix(style.transform === "none" ? "" : style.transform);
  const turned = matrix.b !== 0;
  // A turned box: its own size about the same middle.
  const size = turned ? { w: node.offsetWidth * matrix.m11 * Math.SQRT2, h: node.offsetHeight * matrix.m11 * Math.SQRT2 } : { w, h };
  const inner = { w: Math.max(size.w - width, 0), h: Math.max(size.h - width, 0) };
  const percent = style.borderTopLeftRadius.endsWith("%");
  const radius = (parseFloat(style.borderTopLeftRadius) || 0) * (percent ? size.w / 100 : 1);
  return {
    x: x + (w - inner.w) / 2, y: y + (h - inner.h) / 2, ...inner, radius: Math.min(radius, inner.w / 2, inner.h / 2),
    fill, alpha, stroke: width && strokeAlpha ? stroke : "", strokeAlpha, width,
    turn: turned ? (Math.atan2(matrix.b, matrix.a) * 180) / Math.PI : 0,
  };
}

// A text node as one item per line; what the page cuts off is cut off here, too.
function textItems(node, origin) {
  const parent = node.parentElement;
  const style = getComputedStyle(parent);
  const font = { size: parseFloat(style.fontSize), weight: style.fontWeight, family: style.fontFamily };
  const [fill, alpha] = plainColour(style.color);
  const range = document.createRange();
  const lines = [];
  for (let i = 0; i < node.length; i++) {
    range.setStart(node, i);
    range.setEnd(node, i + 1);
    const bounds = range.getClientRects()[0];
    if (!bounds) continue;
    const line = lines.at(-1);
    if (line && Math.abs(line.bounds.top - bounds.top) < 2) line.text += node.data[i];
    else lines.push({ text: node.data[i], bounds });
  }
  ruler.font = cssFont(font);
  const { fontBoundingBoxAscent: up, fontBoundingBoxDescent: down } = ruler.measureText("x");
  const limit = parent.getBoundingClientRect().right;
  const cut = style.textOverflow === "ellipsis" && style.overflowX === "hidden";
  return lines.filter(({ text }) => text.trim()).map(({ text, bounds }) => {
    const most = limit - bounds.left;
    let words = text.trimEnd();
    if (cut && widthOf(words, font) > most + 1) {
      while (words && widthOf(`${words}…`, font) > most) words = words.slice(0, -1);
      words += "…";
    }
    const y = bounds.top - origin.top + (bounds.height - up - down) / 2 + up;
    return { text: words, x: bounds.left - origin.left, y, font, fill, alpha };
  });
}

// ---------------------------------------------------------------------------------------------- writing

const escaped = (text) =>
  text.replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);
const round = (value) => Math.round(value * 100) / 100;

function toSvg({ width, height, background, items }) {
  const parts = items.map((item) => {
    const [x, y, w, h] = [item.x, item.y, item.w, item.h].map((value) => round(value ?? 0));
    if (item.drawing) return `<g transform="translate(${x} ${y})">${item.drawing.replace(/^<\?xml[^>]*\?>/, "")}</g>`;
    if (item.image) return `<image x="${x}" y="${y}" width="${w}" height="${h}" href="${item.image}"/>`;
    if (item.text) {
      const { size, weight, family } = item.font;
      const looks = `font-size="${size}" font-weight="${weight}" font-family="${escaped(family)}"`;
      return `<text x="${x}" y="${y}" ${looks} fill="${item.fill}" fill-opacity="${round(item.alpha)}">${escaped(item.text)}</text>`;
    }
    const stroke = item.stroke ? ` stroke="${item.stroke}" stroke-opacity="${round(item.strokeAlpha)}" stroke-width="${item.width}"` : "";
    const turn = item.turn ? ` transform="rotate(${round(item.turn)} ${x + w / 2} ${y + h / 2})"` : "";
    const fill = `fill="${item.fill}" fill-opacity="${round(item.alpha)}"`;
    return `<rect x="${x}" y="${y}" width="${w}" height="${h}" rx="${round(item.radius)}" ${fill}${stroke}${turn}/>`;
  });
  const size = `width="${width}" height="${height}" viewBox="0 0 ${width} ${height}"`;
  const ground = `<rect width="${width}" height="${height}" fill="${background}"/>`;
  return `<svg xmlns="http://www.w3.org/2000/svg" ${size}>\n${[ground, ...parts].join("\n")}\n</svg>\n`;
}

async function toPng({ width, height, background, items }) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width * SCALE, height * SCALE];
  const context = canvas.getContext("2d");
  context.scale(SCALE, SCALE);
  context.fillStyle = background;
  context.fillRect(0, 0, width, height);
  for (const item of items) {
    context.save();
    if (item.image) {
      context.drawImage(await loaded(item.image), item.x, item.y, item.w, item.h);
    } else if (item.text) {
      context.font = cssFont(item.font);
      context.globalAlpha = item.alpha;
      context.fillStyle = item.fill;
      context.fillText(item.text, item.x, item.y);
    } else {
      context.translate(item.x + item.w / 2, item.y + item.h / 2);
      context.rotate((item.turn * Math.PI) / 180);
      context.beginPath();
      context.roundRect(-item.w / 2, -item.h / 2, item.w, item.h, item.radius);
      context.globalAlpha = item.alpha;
      context.fillStyle = item.fill;
      context.fill();
      context.globalAlpha = item.strokeAlpha;
      context.strokeStyle = item.stroke || "transparent";
      context.lineWidth = item.width || 1;
      context.stroke();
    }
    context.restore();
  }
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

async function loaded(source) {
  const image = new Image();
  image.src = source;
  await image.decode();
  return image;
}
