// Every page opens without errors and without requests to other hosts, and its body does not scroll sideways.
import { visit, widths } from "./visit.mjs";

export default async function run({ browser, url, paths }) {
  const findings = [];
  for (const width of widths) {
    const tab = await browser.newPage();
    await tab.setViewport({ width, height: 800 });
    let path;
    const add = (text) => findings.push(`${path} at ${width}: ${text}`);
    tab.on("console", (message) => ["error", "warn"].includes(message.type()) && add(`console: ${message.text()}`));
    tab.on("pageerror", (error) => add(`error: ${error.message}`));
    tab.on("response", (response) => response.status() >= 400 && add(`${response.status()} ${response.url()}`));
    tab.on("request", (request) => {
      const { protocol, host } = new URL(request.url());
      if (protocol !== "data:" && host !== new URL(url).host) add(`asks ${request.url()}`);
    });
    for (path of paths) {
      await visit(tab, url, path).catch((error) => add(error.message));
      const [content, page] = await tab.evaluate(() => [
        document.documentElement.scrollWidth,
        document.documentElement.clientWidth,
      ]);
      if (content > page) add(`the body is ${content} wide`);
    }
    await tab.close();
  }
  return { findings, looked: paths.length };
}
