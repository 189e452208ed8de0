// Mending the matte of one picture: the brush, which object is meant, back and forth.
import { html, Icon, useEffect } from "./view.js";
import { brush, clearAll, LEAST, marks, MOST, paints, redo, toggle, tool, TOOLS, undo, undone } from "./corrections.js";
import { mending } from "./recipe.js";
import { current } from "./queue.js";
import { percent, t } from "./words.js";

// A slider of sizes goes by proportions: as fine for a small brush as for a large one.
const toSlider = (size) => Math.round((100 * Math.log(size / LEAST)) / Math.log(MOST / LEAST));
const fromSlider = (value) => LEAST * (MOST / LEAST) ** (value / 100);

function Range({ label, text, value, least = 0, onInput }) {
  return html`<label class="field"><span>${label}</span><b>${text}</b>
    <input type="range" min=${least} max="100" value=${value} aria-valuetext=${text} onInput=${(event) => onInput(Number(event.target.value))} /></label>`;
}

function Tools() {
  const { size, hardness } = brush.value;
  const one = (share) => percent(share, 1);
  return html`<fieldset class="choice"><legend>${t("mend.tool")}</legend>
      <div class="segments">${TOOLS.map((each) => html`<label>
        <input type="radio" name="tool" value=${each} checked=${tool.value === each} onChange=${() => (tool.value = each)} />
        <span>${t(`tool.${each}`)}</span></label>`)}</div>
      <p class="hint">${t(paints() ? "mend.paint" : `about.${tool.value}`)}</p>
      ${!paints() && current.value?.info?.chosen && html`<p class="hint">${t(`mend.${current.value.info.chosen}`)}</p>`}</fieldset>
    ${paints() && html`<${Range} label=${t("mend.size")} text=${one(size)} value=${toSlider(size)} onInput=${(value) => (brush.value = { ...brush.value, size: fromSlider(value) })} />
      <${Range} label=${t("mend.hardness")} text=${one(hardness)} value=${Math.round(hardness * 100)} onInput=${(value) => (brush.value = { ...brush.value, hardness: value / 100 })} />`}
    <div class="row start" role="group" aria-label=${t("mend.history")}>
      <button class="button" disabled=${!marks.value.length} title=${t("undo")} onClick=${undo}><${Icon} name="undo" />${t("undo")}</button>
      <button class="button" disabled=${!undone.value.length} title=${t("redo")} onClick=${redo}><${Icon} name="redo" />${t("redo")}</button>
      <button class="button" disabled=${!marks.value.length || marks.value.at(-1).clear} onClick=${clearAll}>${t("mend.clear")}</button>
    </div>`;
}

// On a phone the viewer stays at the top of the page meanwhile, and would lie over them.
function showTools() {
  document.querySelector(".scroll").scrollTo(0, 0);
  const [viewer, panels] = [".viewer", ".panels"].map((each) => document.querySelector(each).getBoundingClientRect());
  scrollBy(0, Math.min(0, panels.top - viewer.bottom));
}

export function Mend() {
  const on = mending.value !== null;
  useEffect(() => on && showTools(), [on]);
  return html`<section class="panel" aria-labelledby="mend"><h2 id="mend">${t("mend")}</h2>
    <button class="button ${on ? "primary" : ""}" aria-pressed=${on} onClick=${toggle} disabled=${!current.value}><${Icon} name="brush" />${t(on ? "mend.end" : "mend.begin")}</button>
    ${on && (current.value?.unseen ? html`<p class="hint" role="status">${t("mend.unseen")}</p>` : html`<${Tools} />`)}
  </section>`;
}
