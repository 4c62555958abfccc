// Builds what is published into dist/pages: the site of main, that of the last patch of each minor release, the list of
// them for the menu, and a page that leads to the newest. SITE_ROOT is the path that all of them are below.
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root } from "./pages.mjs";

const top = `${process.env.SITE_ROOT || ""}/`.replace(/\/+$/, "/");
const out = join(root, "dist/pages");

function run(folder, env, program, ...args) {
  execFileSync(program, args, { cwd: folder, stdio: "inherit", env: { ...process.env, ...env } });
}

function git(...args) {
  return execFileSync("git", args, { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
}

function hasSite(tag) {
  try {
    git("cat-file", "-e", `${tag}:site/package.json`);
    return true;
  } catch {
    return false; // released before there was a site
  }
}

// releases are the tags of the last patches, by minor version, newest first.
function releases() {
  const tags = git("tag", "--list", "v*", "--sort=-version:refname").split("\n");
  const last = new Map();
  for (const tag of tags.filter((tag) => /^v\d+\.\d+\.\d+$/.test(tag) && hasSite(tag))) {
    const minor = tag.replace(/\.\d+$/, "");
    if (!last.has(minor)) last.set(minor, tag);
  }
  return [...last].map(([version, tag]) => ({ version, tag }));
}

function build(folder, version, ref) {
  run(join(folder, "site"), {}, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund");
  run(join(folder, "site"), { SITE_BASE: `${top}${version}/`, SITE_REF: ref }, "npm", "run", "build");
  cpSync(join(folder, "dist/site"), join(out, version), { recursive: true });
}

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
build(root, "main", "main");
const released = releases();
for (const { version, tag } of released) {
  const copy = mkdtempSync(join(tmpdir(), "akv2k8s-site-"));
  git("worktree", "add", "--force", "--detach", copy, tag);
  build(copy, version, tag);
  git("worktree", "remove", "--force", copy);
}
const versions = [...released.map(({ version }) => version), "main"];
const list = versions.map((version) => ({ version, base: `${top}${version}/` }));
writeFileSync(join(out, "versions.json"), JSON.stringify(list, null, 2));
cpSync(join(out, versions[0], "404.html"), join(out, "404.html"));
const [{ base: newest }] = list;
writeFileSync(
  join(out, "index.html"),
  `<!doctype html><html lang="en"><title>akv2k8s</title><meta http-equiv="refresh" content="0; url=${newest}"><a href="${newest}">akv2k8s</a></html>\n`,
);
