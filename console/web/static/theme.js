// Before the first paint: the theme that was chosen here, dark otherwise.
(() => {
  try {
    const chosen = localStorage.getItem("theme");
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch {
    // storage is off: dark
  }
})();
