// axe finds no serious or critical violation, in light and dark mode, on a telephone and on a screen.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { samples, setDark, visit, widths } from "./visit.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

export default async function run({ browser, url }) {
  const findings = [];
  for (const dark of [false, true]) {
    for (const width of widths) {
      const tab = await browser.newPage();
      await tab.setViewport({ width, height: 800 });
      await setDark(tab, dark);
      for (const path of samples) {
        await visit(tab, url, path);
        await tab.evaluate(axe);
        const { violations } = await tab.evaluate(() => window.axe.run());
        for (const { id, impact, nodes } of violations.filter(({ impact }) =>
          ["serious", "critical"].includes(impact),
        )) {
          const where = nodes.slice(0, 3).map(({ target, any }) => `${target} ${any[0]?.message ?? ""}`);
          findings.push(
            `${path} at ${width}${dark ? ", dark" : ""}: ${impact} ${id}, ${nodes.length} times: ${where.join("; ")}`,
          );
        }
      }
      await tab.close();
    }
  }
  return { findings, looked: samples.length };
}
