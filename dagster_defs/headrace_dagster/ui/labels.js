// Shows the pipelines' names in Dagster's UI in place of the jobs' names, which come from ids so that history
// outlives a rename. Only what is shown and searched changes: links, requests and the page's state keep the ids.
(() => {
  // Headings have a zero-width space after each underscore, so that a long name can break there.
  const JOB = /p_\u200b?([0-9a-f]{32})(?:_\u200b?schedule)?/g;
  const JOB_ALONE = /^p_([0-9a-f]{32})(?:_schedule)?$/;
  const JOB_LENGTH = "p_".length + 32;
  const SCHEDULE_LENGTH = JOB_LENGTH + "_schedule".length;
  const SHORTENED = /p_\u200b?([0-9a-f]{4,31})…[0-9a-z_\u200b]*/g;
  const ASSET = /(pipelines \/ )([0-9a-f]{4,12})(?=…| \/)/g;
  const ASSET_STEP = /^[0-9a-f]{12}$/;
  const SHORTENED_STEP = /^([0-9a-f]{2,9})…([0-9a-f]{2,9})$/;
  // Tags of a run that only programs read. Lists hide them; the run's page shows them.
  const FOR_PROGRAMS = /^headrace\/(?:run_id|pipeline_id|attempt|pipeline|tags): /;
  const LISTED_TAG = "[class*=RunRowTags] [class*=BaseTag]";
  const EDITORS = "script, style, textarea, .CodeMirror";
  const REFRESH_MS = 10000;

  let names = new Map(); // from a pipeline's 32 hex digits to its name
  let version = "";
  const shown = new WeakMap(); // from a text node to its original and its current text

  const startingWith = (digits, end = "") => {
    const found = [...names.keys()].filter((id) => id.startsWith(digits) && id.slice(0, 12).endsWith(end));
    return found.length === 1 ? found[0] : null;
  };

  const named = (text) =>
    text
      .replace(JOB, (job, id) => names.get(id) ?? job)
      .replace(SHORTENED, (job, digits) => names.get(startingWith(digits)) ?? job)
      .replace(ASSET, (asset, step, digits) => step + (names.get(startingWith(digits)) ?? digits))
      .replace(SHORTENED_STEP, (step, digits, end) => names.get(startingWith(digits, end)) ?? step)
      .replace(ASSET_STEP, (digits) => names.get(startingWith(digits)) ?? digits);

  const hideFromLists = (element) => {
    const tag = FOR_PROGRAMS.test(element.textContent) ? element.closest(LISTED_TAG) : null;
    (tag?.closest("[class*=popover-target]") ?? tag)?.style.setProperty("display", "none");
  };

  const label = (node) => {
    const before = shown.get(node);
    const original = before && before.now === node.data ? before.original : node.data;
    if (node.parentElement?.closest(EDITORS)) return;
    if (original.startsWith("headrace/")) hideFromLists(node.parentElement);
    const now = named(original);
    if (now !== node.data) {
      node.data = now;
      shown.set(node, { original, now });
    }
  };

  const labelAll = (root) => {
    if (root.nodeType === Node.TEXT_NODE) return label(root);
    const texts = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) label(texts.currentNode);
  };

  const refresh = async () => {
    const headers = version ? { "If-None-Match": version } : {};
    const answer = await fetch("/headrace/names", { headers, cache: "no-store" }).catch(() => null);
    if (answer?.status !== 200) return; // unchanged, signed out or offline: keep the labels
    names = new Map(Object.entries(await answer.json()));
    version = answer.headers.get("ETag") ?? "";
    labelAll(document.documentElement);
    for (const [worker, message] of searched) send.call(worker, withNames(message));
  };

  // The global search runs in workers, which receive the possible results.
  const searched = new Map(); // from a worker to its last results, with ids
  const send = Worker.prototype.postMessage;
  const withNames = (message) => ({
    ...message,
    results: message.results.map((result) => ({ ...result, label: named(result.label) })),
  });
  Worker.prototype.postMessage = function (message, ...options) {
    if (message?.type !== "set-results") return send.call(this, message, ...options);
    searched.set(this, message);
    return send.call(this, withNames(message), ...options);
  };

  // Filters of lists test each job's name with `includes` or with an expression made of the typed text.
  const nameOf = (text) => {
    if (text.length !== JOB_LENGTH && text.length !== SCHEDULE_LENGTH) return null;
    return names.get(JOB_ALONE.exec(text)?.[1]) ?? null;
  };
  const typed = (text) =>
    [...document.querySelectorAll("input")].some((box) => box.value.trim().toLowerCase() === text);

  const includes = String.prototype.includes;
  String.prototype.includes = function (part, ...from) {
    if (includes.call(this, part, ...from)) return true;
    const name = from.length === 0 ? nameOf(String(this)) : null;
    return name !== null && includes.call(name.toLowerCase(), part) && typed(part);
  };

  const test = RegExp.prototype.test;
  const anyCase = new WeakMap(); // from a filter's expression to the one for names
  RegExp.prototype.test = function (text) {
    if (test.call(this, text)) return true;
    const name = typeof text === "string" ? nameOf(text) : null;
    if (name === null || !this.source.startsWith("^") || !this.source.endsWith("$")) return false;
    if (!anyCase.has(this)) anyCase.set(this, new RegExp(this.source, "i"));
    return test.call(anyCase.get(this), name);
  };

  new MutationObserver((changes) => {
    for (const change of changes) {
      if (change.type === "characterData") label(change.target);
      else change.addedNodes.forEach(labelAll);
    }
  }).observe(document.documentElement, { childList: true, characterData: true, subtree: true });

  refresh();
  setInterval(() => document.hidden || refresh(), REFRESH_MS);
})();
