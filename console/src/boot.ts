// Runs before the page is painted, from a file of its own, as the policy forbids scripts in the page: it sets the colours
// that the person chose, and fits the first frame to the address. Without imports, as it is no module.
{
  const scheme = localStorage.getItem("zmesh.scheme");
  if (scheme) document.documentElement.style.colorScheme = scheme;

  const [, root, project, page = "functions", thing, tab = "overview"] = location.pathname.split("/");

  const fitShell = (shell: HTMLElement): void => {
    const ofFunction = page === "functions" && !!thing && thing !== "new";
    for (const a of shell.querySelectorAll<HTMLAnchorElement>("a[data-page]")) {
      a.href = `/p/${project}/${a.dataset.page}`;
      if (a.dataset.page === page && !a.matches(".crumb, .back")) a.setAttribute("aria-current", "page");
    }
    for (const a of shell.querySelectorAll<HTMLAnchorElement>("a[data-tab]")) {
      a.href = `/p/${project}/functions/${thing}/${a.dataset.tab}`;
      if (a.dataset.tab === tab) a.setAttribute("aria-current", "page");
    }
    const named = thing ? null : shell.querySelector(`[data-page="${page}"]:not(.crumb, .back)`);
    shell.querySelector("h1")!.textContent = ofFunction ? thing : (named?.textContent ?? "");
    if (!ofFunction) for (const part of shell.querySelectorAll(".tabs, .crumb, .sep, .back")) part.remove();
    for (const button of shell.querySelectorAll("button")) button.onclick = () => early.push("Ctrl-K");
    shell.hidden = false;
  };

  const fitSignIn = (page: HTMLElement): void => {
    if (location.hash.startsWith("#zl_")) page.querySelector("h1")!.textContent = "Signing in to zMesh";
    page.querySelector("p")!.textContent = location.host;
    page.hidden = false;
  };

  // Keys and the search button wait for the program, which takes them: parts/keys.tsx.
  const early: string[] = ((window as unknown as { earlyKeys: string[] }).earlyKeys = []);
  const isHeld = (): boolean => "earlyKeys" in window;
  const holdKey = (e: KeyboardEvent): void => {
    if (!isHeld()) return removeEventListener("keydown", holdKey);
    const isSearch = (e.ctrlKey || e.metaKey) && e.key.toLowerCase() === "k";
    if (isSearch) e.preventDefault();
    if (isSearch || !(e.ctrlKey || e.metaKey || e.altKey)) early.push(isSearch ? "Ctrl-K" : e.key);
  };
  if (root === "p") addEventListener("keydown", holdKey);

  const sayNotLoaded = (): void => {
    const bones = document.querySelector("#frame .bones");
    if (!bones) return;
    const note = document.createElement("div");
    note.className = "note bad";
    note.setAttribute("role", "alert");
    note.innerHTML = "<div><b>The console could not be loaded.</b> The server did not answer.</div><div class=acts><button type=button class=btn>Try again</button></div>";
    note.querySelector("button")!.onclick = () => location.reload();
    bones.replaceChildren(note);
    bones.removeAttribute("aria-busy");
    bones.removeAttribute("aria-label");
    if (bones.closest(".shell")) bones.classList.add("page");
  };
  addEventListener("error", (e) => e.target instanceof HTMLScriptElement && sayNotLoaded(), true);

  const parsed = new MutationObserver(() => {
    if (!document.getElementById("first-end")) return;
    parsed.disconnect();
    const shell = document.getElementById("first-shell")!;
    const signIn = document.getElementById("first-signin")!;
    if (root === "p" && project) fitShell(shell);
    else shell.remove();
    if (root === "signin") fitSignIn(signIn);
    else signIn.remove();
  });
  parsed.observe(document, { childList: true, subtree: true });
}
