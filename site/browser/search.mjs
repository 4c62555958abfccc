// The search leads from a word of an error, or of a manifest, to a page that says what to do.
import { visit } from "./visit.mjs";

const wanted = [
  { term: "ForbiddenByRbac", fix: /grant the role|Key Vault Secrets User/ },
  { term: "aadpodidbinding", fix: /env_injector\.podLabels\.aadpodidbinding|A pod without the label aadpodidbinding/ },
  { term: "envFrom", fix: /In ConfigMaps and Secrets \(envFrom/ },
];
const results = ".VPLocalSearchBox .result";

export default async function run({ browser, url }) {
  const findings = [];
  for (const { term, fix } of wanted) {
    const tab = await browser.newPage();
    await tab.setViewport({ width: 1280, height: 800 });
    await visit(tab, url, "index.html");
    await tab.click(".VPNavBarSearch button");
    await tab.waitForSelector(".VPLocalSearchBox input");
    await tab.type(".VPLocalSearchBox input", term);
    await tab.waitForSelector(results, { timeout: 30_000 }).catch(() => {});
    // Results of the last letters replace those of the first.
    await new Promise((done) => setTimeout(done, 1000));
    const found = await tab.$$eval(results, (links) => links.slice(0, 3).map((link) => link.getAttribute("href")));
    const texts = [];
    for (const link of found) {
      await tab.goto(new URL(link, url).href, { waitUntil: "networkidle0" });
      texts.push(await tab.$eval(".vp-doc", (page) => page.textContent));
    }
    if (!texts.some((text) => text.includes(term) && fix.test(text))) {
      findings.push(`${term} leads to ${found.join(", ") || "nothing"}, which do not have ${fix}`);
    }
    await tab.close();
  }
  return { findings, looked: wanted.length };
}
