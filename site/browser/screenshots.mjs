// Keeps pictures of the main pages, for reviewers.
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { samples, setDark, visit, widths } from "./visit.mjs";

export default async function run({ browser, url, artifacts }) {
  mkdirSync(artifacts, { recursive: true });
  for (const dark of [false, true]) {
    for (const width of widths) {
      const tab = await browser.newPage();
      await tab.setViewport({ width, height: width < 500 ? 780 : 900 });
      await setDark(tab, dark);
      for (const path of samples) {
        await visit(tab, url, path);
        const name = path.replace(/\/?(index)?\.html$/, "").replaceAll("/", "-") || "home";
        await tab.screenshot({ path: join(artifacts, `${name}-${width}${dark ? "-dark" : ""}.png`) });
      }
      await tab.close();
    }
  }
  return { findings: [], looked: samples.length };
}
