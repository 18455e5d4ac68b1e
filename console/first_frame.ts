import { readFileSync } from "node:fs";
import { transformWithEsbuild, type Plugin } from "vite";
import { DOCK, NAV, TABS, type Group } from "./src/support/navigation.ts";

const BOOT = "src/boot.ts";

const icon = (name: string, more = ""): string => `<svg class="i${more}" viewBox="0 0 16 16" aria-hidden="true"><use href="#${name}"/></svg>`;
const mark = '<svg class="mark" viewBox="0 0 20 20" aria-hidden="true"><use href="#z"/></svg>';
const link = ([key, name, text]: Group["links"][number]): string => `<a data-page="${key}">${icon(name)}<span>${text}</span></a>`;
const group = ({ label, name, links }: Group): string => `<nav class="nav" aria-label="${label}">${name ? `<h2>${name}</h2>` : ""}${links.map(link).join("")}</nav>`;

const SHELL = `<div class="shell" id="first-shell" hidden>
<aside class="side" aria-label="Console">
<span class="proj">${mark}<span class="bone"></span></span>
<button type="button" class="find">${icon("search", " sm")}<span class="grow">Search or go to</span></button>
${NAV.map(group).join("\n")}
</aside>
<main class="main" id="main">
<header class="bar"><a class="btn bare icon back" data-page="functions" aria-label="Back to Functions">${icon("left")}</a><div class="title"><a class="crumb wide" data-page="functions">Functions</a><span class="sep wide" aria-hidden="true">/</span><h1 class="cut"></h1></div></header>
<nav class="tabs" aria-label="Function">${TABS.map(([key, text]) => `<a data-tab="${key}">${text}</a>`).join("")}</nav>
<div class="bones" aria-busy="true" aria-label="Loading"></div>
</main>
<nav class="dock" aria-label="Main, phone">${DOCK.map(link).join("")}<button type="button">${icon("search")}<span>Search</span></button><a data-page="more">${icon("dots")}<span>More</span></a></nav>
</div>`;
const SIGN_IN = `<main class="signin" id="first-signin" hidden><div class="signin-in">${mark}<h1>Sign in to zMesh</h1><p class="soft"></p><div class="bones" aria-busy="true" aria-label="Loading"></div></div><footer class="meta"></footer></main>`;

/** Puts the frame of the console into index.html, where it is painted before the program of the pages is there, and the
 *  script that fits it to the address. */
export function firstFrame(): Plugin {
  let building = false;
  return {
    name: "first-frame",
    configResolved(config) {
      building = config.command === "build";
    },
    async buildStart() {
      if (!building) return;
      const { code } = await transformWithEsbuild(readFileSync(BOOT, "utf8"), BOOT, { minify: true });
      this.emitFile({ type: "asset", name: "boot.js", source: code });
    },
    transformIndexHtml: {
      order: "post",
      handler(html, { bundle }) {
        const boot = bundle ? Object.keys(bundle).find((name) => /\/boot-[^/]*\.js$/.test(name)) : BOOT;
        return html.replace("<!-- first frame -->", `${SHELL}\n${SIGN_IN}\n<i id="first-end"></i>`).replace("<!-- boot -->", `<script src="/${boot}"></script>`);
      },
    },
  };
}
