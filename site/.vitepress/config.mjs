import { existsSync } from "node:fs";
import { join } from "node:path";
import { defineConfig } from "vitepress";
import { base, pages, root, sidebar } from "../pages.mjs";
import { run as stage } from "../stage.mjs";
import { configure, slugify } from "./markdown.mjs";

const logo = "docs/assets/logo.svg";
const hasLogo = existsSync(join(root, logo));
const sources = new Map(pages().map(({ staged, source }) => [staged, source]));
const groups = sidebar();
const menu = groups.map(({ text, link }) => ({ text, link }));
const less = ["Security", "Contributing"]; // a row has no place for all

// With vitepress dev, a change of a page shows at once.
const restage = {
  name: "restage",
  configureServer({ watcher }) {
    watcher.add(["docs", "examples", "*.md"].map((path) => join(root, path)));
    watcher.on("change", (path) => path.endsWith(".md") && !path.includes(".stage") && stage());
  },
};

// Names of tests would hide what users look for, and the index needs no colours, which take most of the time.
function renderForSearch(text, env, md) {
  if (env.relativePath.startsWith("docs/proofs/")) return "";
  const { highlight } = md.options;
  md.options.highlight = null;
  try {
    return md.render(text, env);
  } finally {
    md.options.highlight = highlight;
  }
}

export default defineConfig({
  srcDir: ".stage",
  outDir: "../dist/site",
  cacheDir: ".cache",
  base,
  lang: "en",
  title: "akv2k8s",
  description: "Azure Key Vault objects in Kubernetes: synced Secrets and ConfigMaps, and values injected into pods",
  // Without an icon, browsers ask for /favicon.ico.
  head: [["link", { rel: "icon", href: hasLogo ? base + logo : "data:," }]],
  markdown: {
    anchor: { slugify },
    attrs: { disable: true }, // {name} at the end of a line is text
    theme: { light: "github-light-high-contrast", dark: "github-dark-high-contrast" },
    languageAlias: { promql: "txt" },
    config: configure,
  },
  transformPageData(page) {
    page.frontmatter.source = sources.get(page.relativePath);
    page.frontmatter.editLink = Boolean(page.frontmatter.source);
  },
  themeConfig: {
    logo: hasLogo ? { src: `/${logo}`, alt: "" } : undefined,
    nav: [
      ...menu.filter(({ text }) => !less.includes(text)),
      {
        text: "More",
        items: [
          ...menu.filter(({ text }) => less.includes(text)),
          { text: "GitHub", link: "https://github.com/akv2k8s/akv2k8s" },
        ],
      },
      { component: "VersionMenu" },
    ],
    sidebar: groups,
    outline: [2, 3],
    editLink: {
      // This function runs in the browser, so it can use nothing from above.
      pattern: ({ frontmatter }) => `https://github.com/akv2k8s/akv2k8s/edit/main/${frontmatter.source}`,
      text: "Edit this page",
    },
    search: { provider: "local", options: { _render: renderForSearch } },
    footer: { message: "Apache-2.0" },
  },
  vite: { plugins: [restage], build: { chunkSizeWarningLimit: 4096 } },
});
