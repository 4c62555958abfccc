// The pages of the site: which Markdown files of the repository, in which order and under which titles.
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = dirname(dirname(fileURLToPath(import.meta.url)));

// Below which path the site is served: / or, for a site with a menu of versions, such as /v2.0/.
export const base = (process.env.SITE_BASE || "/").replace(/\/*$/, "/");

// A page belongs to the longest entry that is its path or a folder above it. An entry that ends with a slash stands for
// the pages of the folder that no other entry names, so a new page appears by itself: in the order in which the folder's
// README links them, and then by title.
const groups = [
  {
    text: "Start",
    entries: [
      "README.md",
      "docs/README.md",
      "docs/getting-started/sync.md",
      "docs/getting-started/inject.md",
      "docs/getting-started/",
      "docs/concepts.md",
      "docs/glossary.md",
    ],
  },
  {
    text: "Guides",
    entries: [
      "docs/authentication.md",
      "docs/troubleshooting.md",
      "docs/upgrading.md",
      "docs/migration/",
      "docs/sizing.md",
      "docs/performance.md",
      "docs/",
      "docs/comparison.md",
      "docs/faq.md",
      "docs/support.md",
    ],
  },
  { text: "How-to", entries: ["docs/how-to/README.md", "docs/how-to/"] },
  {
    text: "Reference",
    entries: [
      "docs/reference/README.md",
      "docs/reference/azurekeyvaultsecret.md",
      "docs/reference/crd.md",
      "docs/reference/env-injection.md",
      "docs/reference/annotations.md",
      "docs/reference/authentication.md",
      "docs/reference/values.md",
      "docs/reference/flags.md",
      "docs/reference/cli/",
      "docs/reference/",
      "CHANGELOG.md",
    ],
  },
  { text: "Security", entries: ["docs/security/threat-model.md", "docs/security/", "SECURITY.md"] },
  { text: "Examples", entries: ["examples/README.md", "examples/"] },
  {
    text: "Contributing",
    entries: [
      "CONTRIBUTING.md",
      "docs/architecture.md",
      "docs/contributing/",
      "docs/adr/README.md",
      "docs/adr/",
      "docs/proofs/",
      "RELEASE.md",
    ],
  },
];

// find returns the files below a folder, with their paths from the root.
export function find(folder) {
  if (!existsSync(join(root, folder))) return [];
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`;
    return entry.isDirectory() ? find(path) : [path];
  });
}

function sources() {
  const single = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "RELEASE.md"];
  return [
    ...single.filter((path) => existsSync(join(root, path))),
    ...find("docs").filter((path) => path.endsWith(".md")),
    ...find("examples").filter((path) => path.endsWith("README.md")),
  ];
}

// The site has a home page of its own, so the README has another name.
function staged(source) {
  return source === "README.md" ? "overview.md" : source.replace(/(^|\/)README\.md$/, "$1index.md");
}

function title(source, text) {
  if (source === "README.md") return "Overview";
  const heading = /^# (.+)$/m.exec(text);
  return heading ? heading[1].replace(/`/g, "").replace(/\[([^\]]*)\]\([^)]*\)/g, "$1") : source;
}

function place(source) {
  const matches = (entry) => entry === source || (entry.endsWith("/") && source.startsWith(entry));
  let best = { group: groups.length - 1, entry: 0, length: -1 };
  groups.forEach(({ entries }, group) =>
    entries.forEach((path, entry) => {
      if (matches(path) && path.length > best.length) best = { group, entry, length: path.length };
    }),
  );
  return best;
}

// linked is where the README of the page's folder, or of the folder above for an example, links the page.
function linked(source) {
  const path = source.replace(/\/README\.md$/, "");
  const index = join(root, dirname(path), "README.md");
  const at = existsSync(index) ? readFileSync(index, "utf8").indexOf(`](${basename(path)})`) : -1;
  return at < 0 ? Infinity : at;
}

// pages are in the order of the sidebar.
export function pages() {
  const order = (a, b) => (a === b ? 0 : a - b); // of two that are infinite, too
  return sources()
    .map((source) => {
      const text = readFileSync(join(root, source), "utf8");
      return {
        source,
        text,
        staged: staged(source),
        title: title(source, text),
        linked: linked(source),
        ...place(source),
      };
    })
    .sort(
      (a, b) => a.group - b.group || a.entry - b.entry || order(a.linked, b.linked) || a.title.localeCompare(b.title),
    );
}

// sidebar has a group's first page as the group's own link: without one, the theme makes a button in a button of it,
// which screen readers can't name.
export function sidebar() {
  const all = pages();
  return groups
    .map(({ text }, index) => {
      const items = all
        .filter(({ group }) => group === index)
        .map((page) => ({ text: page.title, link: `/${page.staged.replace(/(index)?\.md$/, "")}` }));
      if (text === "Reference") items.push({ text: "Schemas", link: "/schemas/" });
      return { text, link: items[0]?.link, collapsed: text !== "Start", items };
    })
    .filter(({ items }) => items.length > 0);
}
