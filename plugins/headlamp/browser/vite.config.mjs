// Builds the page in which the browser test runs: the parts of Headlamp's frontend that the kit has, without the plugin,
// which the page loads as Headlamp does.
import react from '@vitejs/plugin-react';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';
import svgr from 'vite-plugin-svgr';

const here = dirname(fileURLToPath(import.meta.url));
const empty = resolve(here, 'empty.mjs');

export default defineConfig({
  root: here,
  define: { global: 'globalThis', 'process.env': '{}' },
  plugins: [react(), svgr()],
  resolve: {
    alias: [
      // The editor is large, and no page of the test opens it. The modules of Node are for pages of API documentation.
      { find: /^monaco-editor.*/, replacement: empty },
      { find: /^path$/, replacement: 'path-browserify' },
      { find: /^(util|fs|url|http|https|stream|buffer)$/, replacement: empty },
    ],
  },
  build: {
    outDir: resolve(here, 'dist'),
    emptyOutDir: true,
    target: 'esnext',
    minify: false,
    reportCompressedSize: false,
    chunkSizeWarningLimit: 50_000,
  },
  logLevel: 'warn',
});
