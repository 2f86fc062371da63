"use strict";
// The page reads without this; it adds the theme switch, copying and enlarged pictures.
(() => {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const kept = {
    get() { try { return localStorage.getItem("densecl-theme"); } catch { return null; } },
    set(value) { try { localStorage.setItem("densecl-theme", value); } catch { /* a private window */ } },
  };
  const wished = new URLSearchParams(location.search).get("theme") || kept.get();
  if (wished === "light" || wished === "dark") root.dataset.theme = wished;
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);

  addEventListener("DOMContentLoaded", () => {
    const all = (selector) => [...document.querySelectorAll(selector)];
    const said = document.getElementById("said");

    const toggle = document.getElementById("theme");
    const show = () => {
      toggle.textContent = isDark() ? "Light" : "Dark";
      toggle.setAttribute("aria-pressed", String(isDark()));
      toggle.setAttribute("aria-label", isDark() ? "Dark colours are on" : "Dark colours are off");
    };
    toggle.hidden = false;
    toggle.addEventListener("click", () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      kept.set(root.dataset.theme);
      show();
    });
    dark.addEventListener("change", show);
    show();

    const narrow = matchMedia("(max-width: 1020px)");
    const contents = document.getElementById("contents");
    const fit = () => { contents.open = !narrow.matches; };
    narrow.addEventListener("change", fit);
    fit();

    for (const button of all("button.copy")) {
      button.hidden = false;
      button.addEventListener("click", async () => {
        const code = button.closest(".code").querySelector("code");
        let done = true;
        try {
          await navigator.clipboard.writeText(code.textContent);
        } catch {
          getSelection().selectAllChildren(code);
          done = document.execCommand("copy");
        }
        said.textContent = done ? "Copied" : "Selected: copy it with the keyboard";
        button.textContent = done ? "Copied" : "Selected";
        setTimeout(() => { button.textContent = "Copy"; said.textContent = ""; }, 1600);
      });
    }

    const pictures = all("button.zoom");
    if (pictures.length) {
      const lens = document.createElement("dialog");
      const shown = document.createElement("img");
      const words = document.createElement("p");
      const close = document.createElement("button");
      let place = 0;
      close.type = "button";
      close.textContent = "Close";
      lens.id = "lens";
      lens.append(close, shown, words);
      document.body.append(lens);
      const put = (k) => {
        place = (k + pictures.length) % pictures.length;
        const image = pictures[place].querySelector("img");
        shown.src = image.src;
        shown.alt = image.alt;
        lens.setAttribute("aria-label", image.alt);
        words.textContent = `${image.alt} (${place + 1} of ${pictures.length})`;
        shown.classList.remove("whole");
      };
      pictures.forEach((button, k) => button.addEventListener("click", () => {
        put(k);
        lens.showModal();
      }));
      close.addEventListener("click", () => lens.close());
      shown.addEventListener("click", () => shown.classList.toggle("whole"));
      lens.addEventListener("click", (event) => { if (event.target === lens) lens.close(); });
      lens.addEventListener("close", () => pictures[place].focus());
      lens.addEventListener("keydown", (event) => {
        if (event.key === "ArrowRight") put(place + 1);
        if (event.key === "ArrowLeft") put(place - 1);
      });
    }

    let closed = [];
    addEventListener("beforeprint", () => {
      closed = all("details:not([open])");
      for (const each of closed) each.open = true;
    });
    addEventListener("afterprint", () => { for (const each of closed) each.open = false; });
  });
})();
