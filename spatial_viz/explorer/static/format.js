// The axes of a pose and what numbers and verdicts are called.
//
// Rotation in degrees, positive counter-clockwise as displayed; dx, dy in pixels of the network's input, positive right
// and down; rotate about ((W-1)/2, (H-1)/2) first, then shift.

const HOME = { rotation: 0, dx: 0, dy: 0 };
const AXES = ["rotation", "dx", "dy"]; // the order of the arrays in a payload is rotation, dy, dx
const TITLES = { rotation: "rotation left (°)", dx: "shift right (px)", dy: "shift down (px)" };
const SAME = 1e-6; // poses closer than this are the same pose

// What a map shows: the loss, or, where votes are compared, the share of them for the true class. What is bad is bright.
const QUANTITIES = {
  loss: {
    name: "loss", title: "loss (nats)", term: "loss", sign: 1,
    say: (v) => `loss ${number(v, 2)}`,
    sure: (p) => `confidence ${percent(p)}`,
  },
  share: {
    name: "share", title: "share of votes", term: "share of votes", sign: -1,
    say: (v) => `true class ${percent(v)}`,
    sure: (p) => `${percent(p)} of votes`,
  },
};

const clamp = (v, lo, hi) => Math.min(Math.max(v, lo), hi);
const samePose = (a, b, tolerance = SAME) => AXES.every((d) => Math.abs(a[d] - b[d]) < tolerance);
const number = (v, digits) => {
  const text = v.toFixed(digits);
  return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−");
};
const short = (v) => number(v, 2).replace(/\.?0+$/, "");
const percent = (p) => {
  const text = p > 0.995 && p < 1 ? "> 99" : p > 0 && p < 0.005 ? "< 1" : String(Math.round(100 * p));
  return `${text} %`.replaceAll(" ", "\u00a0"); // a number and its unit stay on one line
};

// The value of an axis beside its slider.
function valueWords(axis, value) {
  if (axis !== "rotation") return `${number(value, 2)} px`;
  const size = number(Math.abs(value), 1);
  return Number(size) ? `${size}° ${value > 0 ? "left" : "right"}` : `${size}°`;
}

function transformWords({ rotation, dx, dy }) {
  const turn = Math.round(rotation * 10) / 10;
  const moves = [[dx, "right", "left"], [dy, "down", "up"]]
    .map(([v, plus, minus]) => [Math.round(v * 100) / 100, plus, minus])
    .filter(([v]) => v)
    .map(([v, plus, minus]) => `${Math.abs(v)} px ${v > 0 ? plus : minus}`);
  const parts = turn ? [`turned ${Math.abs(turn)}° ${turn > 0 ? "left" : "right"}`] : [];
  if (moves.length) parts.push(`moved ${moves.join(" and ")}`);
  return parts.join(", ") || "not moved at all";
}

// Without a true label, the reference is the prediction for the unmoved picture, and the words say so.
const verdictWord = (pane, wrong) =>
  pane.labelled ? (wrong ? "misclassified" : "correct") : wrong ? "changed" : "unchanged";
