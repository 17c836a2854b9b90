// A button with data-theme-toggle switches between light and dark; the choice is kept where the browser allows it.
{
  const root = document.documentElement;
  const key = "pairjepa-theme";
  try {
    const kept = localStorage.getItem(key);
    if (kept === "light" || kept === "dark") root.dataset.theme = kept;
  } catch { /* no storage: the system's theme holds */ }
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const now = () => root.dataset.theme ?? (dark.matches ? "dark" : "light");
  for (const button of document.querySelectorAll("[data-theme-toggle]")) {
    const show = () => { button.textContent = now() === "dark" ? "Light theme" : "Dark theme"; };
    button.hidden = false;
    show();
    dark.addEventListener("change", show);
    button.addEventListener("click", () => {
      root.dataset.theme = now() === "dark" ? "light" : "dark";
      try { localStorage.setItem(key, root.dataset.theme); } catch { /* as above */ }
      show();
      document.dispatchEvent(new Event("themechange"));
    });
  }
}
