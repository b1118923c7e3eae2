/* Settings under names: chosen, kept, deleted. */

import { post } from "berth/playground/api";
import { words } from "berth/playground/words";

function group(label, presets) {
  const element = document.createElement("optgroup");
  element.label = label;
  for (const preset of presets) {
    const option = new Option(preset.mine ? preset.name : `${preset.name} · ${preset.owner}`, preset.id);
    element.append(option);
  }
  return element;
}

/** Attach to the form's root; `take(preset)` uses one, `current()` gives settings and prompt as they are. */
export function attachPresets(root, { take, current }) {
  let presets = JSON.parse(document.getElementById("chat-presets").textContent);
  const choice = root.querySelector("[data-preset]");
  const remover = root.querySelector("[data-preset-delete]");
  const form = root.querySelector("[data-preset-form]");
  const said = root.querySelector("[data-preset-said]");
  const chosen = () => presets.find((preset) => String(preset.id) === choice.value);

  function draw(id = "") {
    choice.replaceChildren(choice.options[0]);
    for (const [label, found] of [
      [words("own_presets"), presets.filter((preset) => preset.mine)],
      [words("shared_presets"), presets.filter((preset) => !preset.mine)],
    ]) {
      if (found.length > 0) choice.append(group(label, found));
    }
    choice.value = String(id);
    remover.hidden = !chosen()?.mine;
  }

  async function doing(work) {
    said.textContent = "";
    try {
      await work();
    } catch (error) {
      said.textContent = error.message;
    }
  }

  choice.addEventListener("change", () => {
    remover.hidden = !chosen()?.mine;
    if (chosen()) take(chosen());
  });
  remover.addEventListener("click", () =>
    doing(async () => {
      const gone = chosen();
      await post(root.dataset.deleteUrl.replace("/0/", `/${gone.id}/`));
      presets = presets.filter((preset) => preset !== gone);
      draw();
    }),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    doing(async () => {
      const { settings, prompt } = current();
      const shared = form.elements.shared.checked;
      const content = { name: form.elements.name.value, settings, shared, prompt: form.elements.with_prompt.checked ? prompt : "" };
      const kept = await post(root.dataset.keepUrl, content);
      presets = [...presets.filter((preset) => preset.id !== kept.id), { ...content, ...kept, mine: true }];
      draw(kept.id);
      form.reset();
      said.textContent = words("kept");
    });
  });
  draw();
}
