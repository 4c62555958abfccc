// Follows every link of the built site, without the network, and fails if a page, a file or an anchor is missing.
import { existsSync, readFileSync, readdirSync, statSync } from "node:fs";
import { join, posix } from "node:path";
import { base, root } from "./pages.mjs";

const dist = join(root, "dist/site");
const read = (text) =>
  text
    .replace(/&amp;/g, "&")
    .replace(/&quot;/g, '"')
    .replace(/&#39;/g, "'");

const files = readdirSync(dist, { recursive: true }).filter((file) => file.endsWith(".html"));
const pages = new Map(
  files.map((file) => {
    const text = readFileSync(join(dist, file), "utf8").replace(/<script[^]*?<\/script>/g, "");
    const values = (name) =>
      [...text.matchAll(new RegExp(`\\s${name}="([^"]*)"`, "g"))].map(([, value]) => read(value));
    return [file, { ids: new Set(values("id")), links: [...values("href"), ...values("src")] }];
  }),
);

const findings = [];
let followed = 0;
for (const [file, { links }] of pages) {
  for (const link of new Set(links)) {
    if (/^[a-z][a-z+.-]*:/i.test(link) || link === "" || file === "404.html") continue;
    const { pathname, hash } = new URL(link, `http://site${posix.join(base, file)}`);
    followed++;
    if (!pathname.startsWith(base)) {
      findings.push(`${file}: ${link} leads out of ${base}`);
      continue;
    }
    let target = decodeURIComponent(pathname.slice(base.length));
    if (target === "" || target.endsWith("/")) target += "index.html";
    if (!existsSync(join(dist, target)) || !statSync(join(dist, target)).isFile()) {
      findings.push(`${file}: ${link} leads to no file`);
    } else if (hash && pages.has(target) && !pages.get(target).ids.has(decodeURIComponent(hash.slice(1)))) {
      findings.push(`${file}: ${link} leads to no anchor`);
    }
  }
}
if (followed < 1000) findings.push(`only ${followed} links were found`);
for (const finding of findings) console.error(finding);
console.log(`${pages.size} pages with ${followed} links, ${findings.length} of them dead`);
process.exitCode = findings.length ? 1 : 0;
