// Keeps the browser's address in step with what is shown.
// data = {number, query, page, pages, asked, arrived, places}: number grows with every answer of the server; query is
// what the address shall say; page is the path that it belongs to, one of pages; asked is the address that the browser
// had when it asked; arrived: the answer to a link, or to the way back or forward; places are the parameters whose
// change is a step of its own in the browser's history.

const STREAMLIT = /^embed(_options)?$/i; // parameters of its own, which stay

function begin() {
  const bar = { number: 0, written: "" };
  // Streamlit asks for what belongs to the entry that is reached; older answers no longer count.
  window.addEventListener("popstate", () => (bar.written = ""));
  return bar;
}

export default function ({ data }) {
  const { number, query, page, pages, asked, arrived, places } = data;
  const bar = (window.spatialVizAddress ??= begin());
  if (number <= bar.number) return; // the same again, because the theme has changed, say
  bar.number = number;
  const here = new URL(window.location.href);
  const last = here.pathname.split("/").pop();
  if ((pages.includes(last) ? last : "") !== page) return; // the visitor has gone on to another page
  const switched = asked && new URL(asked).pathname !== here.pathname;
  if (asked && !switched && ![asked, bar.written].includes(here.href)) return; // has gone back or forward meanwhile
  const before = new URLSearchParams(here.search);
  const after = new URLSearchParams(query);
  for (const [name, value] of before) if (STREAMLIT.test(name)) after.append(name, value);
  here.search = after.toString();
  if (here.href !== window.location.href) {
    const step = !arrived && !switched && places.some((name) => before.get(name) !== after.get(name));
    window.history[step ? "pushState" : "replaceState"]({}, "", here.href);
  }
  bar.written = window.location.href;
}
