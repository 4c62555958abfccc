// The button of a code block copies the code.
import { visit } from "./visit.mjs";

const blocks = '.vp-doc div[class*="language-"]';

export default async function run({ browser, url }) {
  const findings = [];
  await browser
    .defaultBrowserContext()
    .overridePermissions(new URL(url).origin, ["clipboard-read", "clipboard-write", "clipboard-sanitized-write"]);
  const tab = await browser.newPage();
  await tab.setViewport({ width: 1280, height: 800 });
  let looked = 0;
  for (const path of ["overview.html", "examples/secret-sync/index.html"]) {
    await visit(tab, url, path);
    for (const block of (await tab.$$(blocks)).slice(0, 3)) {
      const code = await block.$eval("code", (element) => element.textContent);
      await block.hover();
      await (await block.$("button.copy")).click();
      await tab.waitForFunction((element) => element.querySelector("button.copied"), {}, block);
      const copied = await tab.evaluate(() => navigator.clipboard.readText());
      if (copied.trim() !== code.trim())
        findings.push(`${path}: ${JSON.stringify(copied)} was copied of ${JSON.stringify(code)}`);
      looked++;
    }
  }
  return { findings, looked };
}
