// Runs one check of the built site in Chromium: node browser/run.mjs CHECK URL ARTIFACTS, with CHROMIUM, its program.
// A check returns what it found wrong, a line each.
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { launch } from "puppeteer-core";
import { root } from "../pages.mjs";

const [check, url, artifacts] = process.argv.slice(2);
const { default: run } = await import(`./${check}.mjs`);
const paths = readdirSync(join(root, "dist/site"), { recursive: true })
  .filter((file) => file.endsWith(".html") && file !== "404.html")
  .sort();

const browser = await launch({
  executablePath: process.env.CHROMIUM,
  // Root has no sandbox, and the only pages are those of this repository.
  args: ["--no-sandbox", "--disable-dev-shm-usage"],
});
try {
  const { findings, looked } = await run({ browser, url, paths, artifacts });
  for (const finding of findings) console.log(finding);
  if (looked === 0) console.log(`${check} looked at nothing`);
  process.exitCode = findings.length || looked === 0 ? 1 : 0;
} finally {
  await browser.close();
}
