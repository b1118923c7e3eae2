/* Raw: a request as it goes out, what came of it, and the same request as code. */

import { attach } from "berth/attach";
import { post, RefusedError } from "berth/playground/api";
import { RawAnswer } from "berth/playground/raw_answer";
import { RawFiles } from "berth/playground/raw_files";
import { ready } from "berth/playground/ready";
import { parts } from "berth/playground/lines";
import { words } from "berth/playground/words";

const CODE_AFTER_MS = 250;

attach("[data-raw]", (root) => {
  const part = (name) => root.querySelector(`[data-${name}]`);
  const { targets, wanted } = JSON.parse(document.getElementById("raw-state").textContent);
  const [config, path, body, tool] = ["config", "path", "body", "tool"].map(part);
  const answer = new RawAnswer(root);
  const files = new RawFiles(root, { changed: () => writeCode() });
  let under_way = null;
  let codes = [];
  let timer;

  const target = () => targets.find((each) => each.config === config.value);
  const address = () => target()?.addresses.find((each) => each.path === path.value);
  const question = () => ({ path: path.value, body: body.value });

  function complain(error) {
    const problem = part("problem");
    problem.textContent = error?.message ?? "";
    problem.hidden = !error;
    body.setAttribute("aria-invalid", String(Boolean(error?.fields?.body)));
  }

  function showPaths(chosen) {
    path.replaceChildren(...(target()?.addresses ?? []).map((each) => new Option(`${each.kind === "get" ? "GET" : "POST"} ${each.path}`, each.path)));
    if (target()?.addresses.some((each) => each.path === chosen)) path.value = chosen;
  }

  function begin(text = address()?.example ?? "") {
    body.value = text;
    const { kind = "json", files: names = [] } = address() ?? {};
    part("asks").hidden = kind === "get";
    part("body-label").textContent = words(kind === "form" ? "form_body" : "json_body");
    files.show(names);
    complain(null);
    writeCode();
  }

  async function writeCode() {
    try {
      codes = await post(root.dataset.codeUrl, { ...question(), files: files.names });
      complain(null);
    } catch (error) {
      // While somebody types nothing has to be right; the code of the last good request stays.
      if (codes.length === 0) part("code").textContent = error.message;
      return;
    }
    const chosen = tool.value;
    tool.replaceChildren(...codes.map((code) => new Option(code.title, code.key)));
    if (codes.some((code) => code.key === chosen)) tool.value = chosen;
    showCode();
  }

  function showCode() {
    part("code").textContent = codes.find((code) => code.key === tool.value)?.text ?? "";
  }

  function busy(isBusy) {
    part("send").hidden = isBusy;
    part("stop").hidden = !isBusy;
  }

  async function send() {
    if (under_way || !part("send")) return;
    complain(null);
    under_way = new AbortController();
    busy(true);
    let began = false;
    try {
      const content = address()?.kind === "form" ? files.form(question()) : question();
      for await (const each of parts(root.dataset.sendUrl, content, under_way.signal)) {
        if (!began) answer.begin();
        began = true;
        answer.take(each);
      }
      answer.end();
    } catch (error) {
      if (error.name === "AbortError") answer.end(words("stopped"));
      else if (began) answer.end(error instanceof RefusedError ? error.message : words("broke_off"));
      else {
        complain(error);
        const offset = Number(error.fields?.offset?.[0] ?? NaN);
        (error.fields?.files ? part("files").querySelector("input") : body)?.focus();
        if (!Number.isNaN(offset)) body.setSelectionRange(offset, offset + 1);
      }
    }
    under_way = null;
    busy(false);
  }

  for (const each of targets) part(each.is_ready ? "ready" : "not-ready").append(new Option(each.config, each.config));
  for (const group of root.querySelectorAll("optgroup:empty")) group.remove();
  if (wanted.config && targets.some((each) => each.config === wanted.config)) config.value = wanted.config;
  showPaths(wanted.path);
  // What was typed before this ran is somebody's.
  begin(body.value || wanted.body || undefined);

  config.addEventListener("change", () => {
    showPaths(path.value);
    begin();
  });
  path.addEventListener("change", () => begin());
  part("example").addEventListener("click", () => begin());
  tool.addEventListener("change", showCode);
  body.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(writeCode, CODE_AFTER_MS);
  });
  body.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) send();
  });
  // Until this runs a press would load the page anew, without what was typed.
  if (part("send")) part("send").type = "submit";
  part("form").addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  part("stop")?.addEventListener("click", () => under_way?.abort());
  ready(part("form"));
  return () => {
    clearTimeout(timer);
    under_way?.abort();
  };
});
