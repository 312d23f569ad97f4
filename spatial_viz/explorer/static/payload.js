// Reading the payload that payload.py writes.

function decode(text, Type) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  return new Type(bytes.buffer);
}

// +1 where correct, -1 where misclassified: a field whose zero line can be drawn
const signs = (wrong) => Float32Array.from(wrong, (w) => 1 - 2 * w);

function decodePane(pane, name) {
  const quantity = QUANTITIES[name];
  const wrong = decode(pane.misclassified, Uint8Array);
  const names = pane.classes.map((c) => c.index);
  const shown = pane.classes.map((c, i) => i).filter((i) => names[i] >= 0); // a stand-in class has no bar
  const trueColumn = names.indexOf(pane.label);
  const planes = pane.planes.map((p) => {
    const bad = decode(p.misclassified, Uint8Array);
    const margin = p.margin ? decode(p.margin, Float32Array) : signs(bad);
    return { ...p, values: decode(p[name], Float32Array), wrong: bad, margin };
  });
  return {
    ...pane,
    quantity,
    planes,
    shown,
    trueColumn: pane.classes.length > 1 ? trueColumn : -1,
    pixels: decode(pane.picture.pixels, Uint8Array),
    values: decode(pane[name], Float32Array),
    signs: signs(wrong),
    probabilities: decode(pane.probabilities, Float32Array),
    others: shown.length < (pane.class_count ?? shown.length),
    beyond: worstBetween(pane.worst, planes, quantity),
  };
}

// The worst misclassified cell of the refined planes, where it is worse than the worst case of the swept grid.
function worstBetween(worst, planes, { name, sign }) {
  let found = null;
  let most = worst.misclassified ? sign * worst[name] + 1e-4 : -Infinity;
  for (const plane of planes) {
    plane.values.forEach((value, i) => {
      if (!plane.wrong[i] || sign * value <= most) return;
      most = sign * value;
      const [x, y] = [plane.x[i % plane.x.length], plane.y[Math.floor(i / plane.x.length)]];
      found = { pose: { [plane.fixed]: plane.at, [plane.x_axis]: x, [plane.y_axis]: y }, value };
    });
  }
  return found;
}
