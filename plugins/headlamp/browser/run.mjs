// Opens the plugin's pages in Chromium: node browser/run.mjs API REPORT ARTIFACTS, with CHROMIUM, its program. API is the
// URL of kubectl proxy, REPORT a file with the output of kubectl akv2k8s doctor -o json, and ARTIFACTS a folder for
// screenshots. It prints what it found wrong, a line each. The objects are those of tests/long/headlamp.
import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { launch } from 'puppeteer-core';
import { serve } from './server.mjs';

const [api, report, artifacts] = process.argv.slice(2);
mkdirSync(artifacts, { recursive: true });
const require = createRequire(import.meta.url);
const wait = { timeout: 30_000 };

// Where Headlamp gets icons that it does not have.
const iconHosts = ['api.iconify.design', 'api.simplesvg.com', 'api.unisvg.com'];

const findings = [];
const server = await serve(api);
const browser = await launch({
  executablePath: process.env.CHROMIUM,
  // Root has no sandbox, and the only pages are those of this repository.
  args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu', '--disable-background-networking'],
  defaultViewport: { width: 1360, height: 850 },
});

/** open opens a page in a tab of its own, and watches what it requests. */
async function open(path, { ofHeadlamp = false } = {}) {
  const page = await browser.newPage();
  page.on('pageerror', error => findings.push(`${path}: ${error.message}`));
  await page.setRequestInterception(true);
  page.on('request', request => {
    const url = new URL(request.url());
    if (iconHosts.includes(url.hostname)) {
      const headers = { 'Access-Control-Allow-Origin': '*' };
      request.respond({ headers, contentType: 'application/json', body: icons(url) });
      return;
    }
    if (url.origin !== server.url && url.protocol.startsWith('http')) {
      findings.push(`${path}: a request to another host: ${url.origin}`);
      request.abort();
      return;
    }
    // Pages of Headlamp itself, such as that of a pod, read Secrets.
    if (!ofHeadlamp && /\/secrets(\/|$|\?)/.test(url.pathname)) {
      findings.push(`${path}: a Secret was read: ${url.pathname}`);
    }
    request.continue();
  });
  await page.goto(server.url + path);
  return page;
}

/** icons answers Headlamp's requests for icons, which need another host, from the package that the kit has. */
function icons(url) {
  const icons = {};
  for (const name of (url.searchParams.get('icons') ?? '').split(',')) {
    try {
      icons[name] = require(`@iconify/icons-mdi/${name}.js`).default ?? require(`@iconify/icons-mdi/${name}.js`);
    } catch {
      continue; // newer than the package
    }
  }
  return JSON.stringify({ prefix: url.pathname.slice(1, -'.json'.length), icons, width: 24, height: 24 });
}

/** requireTexts waits until a page has all texts. */
async function requireTexts(page, name, texts) {
  for (const text of texts) {
    try {
      await page.waitForFunction(t => document.body.innerText.includes(t), wait, text);
    } catch {
      const has = (await page.evaluate(() => document.body.innerText)).replace(/\s+/g, ' ');
      findings.push(`${name}: ${JSON.stringify(text)} is missing; the page has: ${has.slice(0, 3000)}`);
    }
  }
}

async function screenshot(page, name) {
  await new Promise(resolve => setTimeout(resolve, 1_000)); // animations end
  await page.screenshot({ path: join(artifacts, `headlamp-${name}.png`) });
}

async function clickButton(page, text) {
  const button = await page.waitForSelector(`::-p-xpath(//*[self::button or @role='button'][contains(., '${text}')])`, wait);
  await button.click();
}

const checks = {
  async list() {
    const page = await open('/c/main/keyvaultsecrets');
    await page.setViewport({ width: 1480, height: 620 });
    await requireTexts(page, 'list', ['Key Vault secrets', 'database', 'api', 'akv2k8s-example', 'ObjectNotFound', 'soon', 'True']);
    await screenshot(page, 'list');
  },
  async details() {
    const page = await open('/c/main/keyvaultsecrets/shop/database');
    await requireTexts(page, 'details', ['Used by', 'Deployment web', 'variable PASSWORD', 'Vault objects', 'database-password', 'Refresh now', 'Conditions']);
    await clickButton(page, 'Refresh now');
    await requireTexts(page, 'details', ['the vault was read']);
    await page.setViewport({ width: 1360, height: 1250 });
    await screenshot(page, 'details');
  },
  async error() {
    const page = await open('/c/main/keyvaultsecrets/shop/missing');
    await requireTexts(page, 'error', ['Last error', 'Next step', 'ObjectNotFound']);
  },
  async findings() {
    const page = await open('/c/main/keyvaultsecrets-findings');
    await requireTexts(page, 'findings', ['Installation', 'Webhook', 'Namespaces', 'akvs shop/nowhere', 'it does not exist', 'lacks the label']);
    await screenshot(page, 'findings');
    await page.waitForSelector('input[type=file]').then(input => input.uploadFile(report));
    const first = JSON.parse(readFileSync(report, 'utf8')).findings[0];
    await requireTexts(page, 'report', [first.check, first.what]);
  },
  async pod() {
    const page = await open('/c/main/deployments/shop/web', { ofHeadlamp: true });
    await requireTexts(page, 'deployment', ['Key Vault secrets', 'PASSWORD', 'database@azurekeyvault']);
  },
  async hostile() {
    const page = await open('/c/main/deployments/plain/hostile', { ofHeadlamp: true });
    await requireTexts(page, 'hostile', ['<img src=x onerror=window.attacked=1>']);
    if (await page.evaluate(() => window.attacked)) {
      findings.push('hostile: a text of a pod was run as HTML');
    }
  },
  async map() {
    const page = await open('/c/main/map?group=namespace&namespace=shop', { ofHeadlamp: true });
    await page.setViewport({ width: 1800, height: 850 });
    await clickButton(page, 'Expand All');
    await requireTexts(page, 'map', ['AzureKeyVaultSecret', 'settings']);
    await screenshot(page, 'map');
  },
};

let ran = 0;
try {
  for (const [name, check] of Object.entries(checks)) {
    try {
      await check();
    } catch (error) {
      findings.push(`${name}: ${error.message}`);
    }
    ran++;
  }
} finally {
  await browser.close();
  server.close();
}
for (const finding of findings) console.log(finding);
process.exit(findings.length > 0 || ran === 0 ? 1 : 0);
