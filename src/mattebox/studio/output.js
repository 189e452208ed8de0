// The file: format, quality and the bytes it has; and the ways out.
import { html, useEffect, Icon } from "./view.js";
import * as api from "./api.js";
import { showCall } from "./call.js";
import { Choice, Select, Slider } from "./fields.js";
import { copy, download, downloadAll, draggable, dragged } from "./outgoing.js";
import { change, hasQuality, recipe } from "./recipe.js";
import { again, counts, current, stale } from "./queue.js";
import { bytes, t } from "./words.js";

const FORMATS = ["png", "webp", "jpeg", "avif"];

function Model() {
  useEffect(() => {
    api.askForModels();
  }, [api.key.value]);
  return html`<${Select} label=${t("model")} value=${recipe.value.model} onChange=${(model) => change({ model })}>
    <option value="auto">auto</option>
    ${api.models.value.filter((each) => each.name !== "auto").map((each) => html`<option value=${each.name} title=${each.note}>${each.name}</option>`)}<//>`;
}

export function Output() {
  const picture = current.value;
  const ready = picture?.status === "done" && !stale(picture);
  const measured = ready ? t("output.bytes", { size: bytes(picture.info.bytes), before: bytes(picture.bytes) }) : t("output.unmeasured");
  return html`<section class="panel" aria-labelledby="output"><h2 id="output">${t("output")}</h2>
    <${Choice} label=${t("format")} name="format" values=${FORMATS} names=${(each) => (each === "webp" ? "WebP" : each.toUpperCase())} />
    ${hasQuality(recipe.value.format) && html`<${Slider} label=${t("quality")} name="quality" least="20" most="100" />`}
    <p class="measured" role="status">${measured}</p>
    <${Model} />
  </section>`;
}

export function Actions() {
  const picture = current.value;
  const old = picture && stale(picture);
  const ready = picture?.status === "done";
  return html`<div class="actions">
    ${old && html`<button class="button wide" onClick=${() => again(picture.id)}><${Icon} name="retry" />${t("apply")}</button>`}
    <button class="button primary" disabled=${!ready} draggable=${draggable.value.id !== null && ready} onDragStart=${(event) => dragged(event, picture)} onClick=${() => download(picture)}><${Icon} name="download" />${t("download")}</button>
    <button class="button" disabled=${!ready} title=${t("copy")} onClick=${() => copy(picture)}><${Icon} name="copy" />${t("copy")}</button>
    <button class="button" disabled=${counts.value.done < 1} title=${t("zip")} onClick=${downloadAll}><${Icon} name="archive" />${t("zip")}</button>
    <button class="button" title=${t("call")} onClick=${showCall}><${Icon} name="code" />${t("call")}</button>
  </div>`;
}
