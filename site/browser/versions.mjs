// The menu shows the version of the page and leads to others.
import { visit } from "./visit.mjs";

export default async function run({ browser, url }) {
  const findings = [];
  const tab = await browser.newPage();
  await tab.setViewport({ width: 1280, height: 800 });
  await visit(tab, url, "overview.html");
  const base = new URL(url).pathname;
  const [shown, others] = await tab.$eval(".versions", (menu) => [
    menu.value,
    [...menu.options].map((option) => option.value),
  ]);
  if (shown !== base) findings.push(`the menu shows ${shown} on a page of ${base}`);
  const other = others.find((version) => version !== base);
  await Promise.all([tab.waitForNavigation(), tab.select(".versions", other)]);
  if (new URL(tab.url()).pathname !== other) findings.push(`the menu led to ${tab.url()}, not to ${other}`);
  return { findings, looked: others.length };
}
