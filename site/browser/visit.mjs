// What the checks share.

// The pages that stand for their kinds: home, text, wide tables, diagrams, an example.
export const samples = [
  "index.html",
  "overview.html",
  "docs/authentication.html",
  "docs/troubleshooting.html",
  "docs/reference/values.html",
  "docs/reference/errors.html",
  "examples/index.html",
  "examples/secret-sync/index.html",
];

export const widths = [360, 1280];

// visit opens a page and waits until it is complete, with its diagrams.
export async function visit(tab, url, path) {
  await tab.goto(url + path, { waitUntil: "networkidle0", timeout: 60_000 });
  await tab.waitForFunction(
    () => [...document.querySelectorAll(".diagram")].every((diagram) => diagram.querySelector("svg")),
    {
      timeout: 30_000,
    },
  );
}

export async function setDark(tab, dark) {
  await tab.evaluateOnNewDocument(
    (value) => localStorage.setItem("vitepress-theme-appearance", value),
    dark ? "dark" : "light",
  );
}
