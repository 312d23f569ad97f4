// The little panel under a button, with an explanation or a choice in it; one is open at a time.

function makePanel(root, on) {
  const pop = el("div", "sv-pop");
  pop.setAttribute("role", "status");
  pop.hidden = true;
  let opener = null;

  function close(focus = false) {
    if (!opener) return;
    opener.setAttribute("aria-expanded", "false");
    if (focus) opener.focus();
    opener = null;
    pop.hidden = true;
  }

  // Has a button open the little panel with what `content` gives.
  function opens(button, content) {
    button.setAttribute("aria-expanded", "false");
    on(button, "click", () => {
      const again = opener === button;
      close();
      if (again) return;
      opener = button;
      button.setAttribute("aria-expanded", "true");
      pop.replaceChildren(...content());
      pop.hidden = false;
      const [outer, own] = [root.getBoundingClientRect(), button.getBoundingClientRect()];
      const left = clamp((own.left - outer.left) / zoom - 20, 0, Math.max(root.clientWidth - pop.offsetWidth, 0));
      const below = (own.bottom - outer.top) / zoom + 6;
      const above = (own.top - outer.top) / zoom - pop.offsetHeight - 6;
      pop.style.left = `${left}px`;
      pop.style.top = `${below + pop.offsetHeight > root.clientHeight && above > 0 ? above : below}px`;
    });
  }

  on(root, "keydown", (event) => {
    if (event.key !== "Escape" || !opener) return;
    event.stopPropagation();
    close(true);
  });
  on(document, "pointerdown", (event) => {
    if (!event.composedPath().some((node) => node === pop || node === opener)) close();
  });

  return { node: pop, opens, close };
}
