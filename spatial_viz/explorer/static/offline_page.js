// An exported page: behind the explorer's files, as one script. Mounts the explorer and draws the figures, in the
// theme that the reader's system asks for where the page has both.

function showPage() {
  const data = (id) => JSON.parse(document.getElementById(id)?.textContent ?? "null");
  const darkness = matchMedia("(prefers-color-scheme: dark)");
  const payload = data("explorer-data");
  const figures = data("figure-data") ?? {}; // theme → figures, of one theme or of both
  const view = payload && mount(document.getElementById("explorer"), payload);

  const draw = () => {
    const shown = figures[darkness.matches ? "dark" : "light"] ?? Object.values(figures)[0] ?? [];
    const config = { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["toImage"] };
    shown.forEach((figure, i) => {
      const place = document.getElementById(`figure-${i}`);
      const solid = figure.data.some(({ type }) => type === "surface");
      if (!solid || hasWebGL()) return Plotly.newPlot(place, { ...figure, config });
      Plotly.newPlot(place, { ...fromAbove(figure), config });
      place.dataset.flat = "true";
      if (!place.nextElementSibling.matches(".flat")) place.after(el("p", "flat", NO_WEBGL));
    });
  };
  draw();
  darkness.addEventListener("change", () => {
    draw();
    view?.update(payload);
  });

  for (const button of document.querySelectorAll(".save button")) {
    const { figure, format } = button.dataset;
    const name = `${document.title} ${figure}`;
    button.addEventListener("click", () => savePlot(document.getElementById(figure), Plotly, format, name));
  }
}

showPage();
