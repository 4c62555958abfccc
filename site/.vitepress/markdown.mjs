// Makes the repository's Markdown, which is written for GitHub, mean the same in VitePress.
import { existsSync, statSync } from "node:fs";
import { join, posix } from "node:path";
import { pages, root } from "../pages.mjs";

const repository = "https://github.com/akv2k8s/akv2k8s";
const ref = process.env.SITE_REF || "main";

// Tags that pages may use. Others, such as <name> in a sentence, are text, and would be components to Vue.
const tags = /^<\/?(a|b|br|code|details|div|em|i|img|kbd|p|picture|source|strong|sub|summary|sup)(\s[^<>]*)?\/?>$/i;

// slugify names an anchor as GitHub does.
export function slugify(heading) {
  return heading
    .trim()
    .toLowerCase()
    .replace(/[^\p{L}\p{N}_\- ]/gu, "")
    .replaceAll(" ", "-");
}

// resolve turns a link of a page into one of the site, or into one of the repository for files that are no pages.
function resolve(href, page, staged) {
  if (/^([a-z][a-z+.-]*:|#|\/)/i.test(href)) return href;
  const [path, anchor] = href.split("#", 2);
  const target = posix.normalize(posix.join(posix.dirname(page), decodeURI(path))).replace(/\/$/, "");
  const suffix = anchor === undefined ? "" : `#${anchor}`;
  const found = staged.get(target) ?? staged.get(posix.join(target, "README.md"));
  if (found) return `/${found}${suffix}`;
  if (!existsSync(join(root, target))) return `/${target}${suffix}`; // reported with all others that are dead
  const kind = statSync(join(root, target)).isDirectory() ? "tree" : "blob";
  return `${repository}/${kind}/${ref}/${target}${suffix}`;
}

function links(md) {
  const all = pages();
  const staged = new Map(all.map((page) => [page.source, page.staged]));
  const sources = new Map(all.map((page) => [page.staged, page.source]));
  md.core.ruler.push("repository_links", ({ tokens, env }) => {
    const page = sources.get(env.relativePath);
    if (!page) return; // written for the site
    for (const token of tokens.flatMap(({ children }) => children ?? [])) {
      if (token.type === "link_open") token.attrSet("href", resolve(token.attrGet("href"), page, staged));
    }
  });
}

function language(code) {
  if (code.startsWith("$ ")) return "console";
  return /^(#.*\n)*\s*[\w.-]+:(\s|$)/.test(code) ? "yaml" : "sh";
}

// An indented block has no language; a fence has one, and so highlighting and a button that copies it.
function codeBlocks(md) {
  md.core.ruler.after("block", "indented_code", ({ tokens }) => {
    for (const token of tokens) {
      if (token.type !== "code_block") continue;
      Object.assign(token, { type: "fence", tag: "code", markup: "```", info: language(token.content) });
    }
  });
}

function html(md) {
  const { escapeHtml } = md.utils;
  for (const rule of ["html_block", "html_inline"]) {
    const inherited = md.renderer.rules[rule] ?? ((tokens, index) => tokens[index].content);
    md.renderer.rules[rule] = (tokens, index, ...rest) => {
      const token = tokens[index];
      token.content = token.content
        .replace(/<!--[^]*?-->/g, "")
        .replace(/<[^<>]*>/g, (tag) => (tags.test(tag) ? tag : escapeHtml(tag)));
      return inherited(tokens, index, ...rest);
    };
  }
  // Vue reads {{ in text as the start of an expression, but not as entities.
  md.renderer.rules.text = (tokens, index) => escapeHtml(tokens[index].content).replaceAll("{{", "&#123;&#123;");
  md.renderer.rules.code_inline = (tokens, index) => `<code v-pre>${escapeHtml(tokens[index].content)}</code>`;
}

// A wide table scrolls in a box of its own, which the keyboard reaches.
function tables(md) {
  md.renderer.rules.table_open = () => '<div class="table" role="group" aria-label="Table" tabindex="0"><table>\n';
  md.renderer.rules.table_close = () => "</table></div>\n";
}

function diagrams(md) {
  const fence = md.renderer.rules.fence;
  md.renderer.rules.fence = (tokens, index, ...rest) => {
    const { info, content } = tokens[index];
    if (info.trim() !== "mermaid") return fence(tokens, index, ...rest);
    return `<MermaidDiagram code="${encodeURIComponent(content)}" />`;
  };
}

export function configure(md) {
  md.core.ruler.disable("emoji"); // host:80:80 is no picture
  md.linkify.set({ fuzzyLink: false, fuzzyEmail: false }); // spv.no is the name of an API group
  for (const plugin of [links, codeBlocks, html, tables, diagrams]) plugin(md);
}
