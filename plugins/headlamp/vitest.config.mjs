// The kit's configuration without its polyfills of Node.js modules, which don't resolve in tests.
import react from '@vitejs/plugin-react';
import { defineConfig } from 'vitest/config';
import svgr from 'vite-plugin-svgr';

export default defineConfig({
  plugins: [react(), svgr()],
  define: { global: 'globalThis' },
  resolve: { alias: [{ find: /^monaco-editor.*/, replacement: new URL('./browser/empty.mjs', import.meta.url).pathname }] },
  test: {
    globals: true,
    environment: 'jsdom',
    server: { deps: { inline: [/@kinvolk\/headlamp-plugin/] } },
    testTimeout: 120_000,
  },
});
