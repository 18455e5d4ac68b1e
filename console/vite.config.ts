import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { defineConfig, type Plugin } from "vite";
import { firstFrame } from "./first_frame.ts";

/** The API serves `x.br` and `x.gz` where they lie beside `x`. */
function compressed(): Plugin {
  return {
    name: "compressed",
    apply: "build",
    closeBundle() {
      for (const entry of readdirSync("dist", { recursive: true, withFileTypes: true })) {
        if (!entry.isFile() || !/\.(js|css|svg|html)$/.test(entry.name)) continue;
        const path = join(entry.parentPath, entry.name);
        const text = readFileSync(path);
        writeFileSync(`${path}.br`, brotliCompressSync(text));
        writeFileSync(`${path}.gz`, gzipSync(text, { level: 9 }));
      }
    },
  };
}

const api = process.env.ZMESH_URL ?? "http://127.0.0.1:8700";

export default defineConfig({
  plugins: [firstFrame(), compressed()],
  build: { target: "es2023", assetsInlineLimit: 0, modulePreload: { polyfill: false }, cssCodeSplit: true },
  server: { proxy: { "/console": { target: api, changeOrigin: false }, "/api": { target: api, changeOrigin: false } } },
});
