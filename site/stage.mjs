// Copies the pages and what belongs to them into .stage, from which VitePress builds the site.
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { find, pages, root } from "./pages.mjs";

const here = join(root, "site");
const stage = join(here, ".stage");

function write(path, content) {
  mkdirSync(dirname(join(stage, path)), { recursive: true });
  writeFileSync(join(stage, path), content);
}

// An example's README says what to apply; on GitHub its files are next to it.
function filesOf(example) {
  const files = find(example).filter((path) => /\.ya?ml$/.test(path) && basename(path) !== "rendered.yaml");
  const blocks = files.map((path) => {
    const content = readFileSync(join(root, path), "utf8").trimEnd();
    return `::: details ${path.slice(example.length + 1)}\n\`\`\`\`yaml\n${content}\n\`\`\`\`\n:::\n`;
  });
  return blocks.length ? `\n## Files\n\n${blocks.join("\n")}` : "";
}

const schemas = [
  ...find("values-schemas"),
  "charts/akv2k8s/values.schema.json",
  ...find("charts/akv2k8s/crds"),
  ...find("schemas"),
];

function schemasPage() {
  const lines = schemas.map((path) => `- <a href="./${basename(path)}">${basename(path)}</a> (\`${path}\`)`);
  return `# Schemas\n\nThe JSON schemas of the chart's values, and the CustomResourceDefinition:\n\n${lines.join("\n")}\n`;
}

export function run() {
  for (const { source, text, staged } of pages()) {
    const example = source.startsWith("examples/") ? dirname(source) : "";
    write(staged, example && example !== "examples" ? text + filesOf(example) : text);
  }
  cpSync(join(here, "index.md"), join(stage, "index.md"));
  for (const path of find("docs").filter((path) => /\.(svg|png)$/.test(path))) {
    // Markdown imports an image from its folder; HTML and the icon name its path on the site.
    for (const to of [join(stage, path), join(stage, "public", path)]) cpSync(join(root, path), to);
  }
  for (const path of schemas) {
    const to = join("public/schemas", basename(path));
    if (existsSync(join(stage, to))) throw new Error(`two schemas have the name ${basename(path)}; rename ${path}`);
    write(to, readFileSync(join(root, path)));
  }
  write("schemas/index.md", schemasPage());
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  rmSync(stage, { recursive: true, force: true });
  run();
}
