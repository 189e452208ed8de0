// The list of pictures, with how each is getting on.
import { html, Icon } from "./view.js";
import { chooseFiles, showWays } from "./incoming.js";
import { again, cancel, cancelAll, clear, counts, pictures, remove, renewAll, retryAll, selected, sentence, stale } from "./queue.js";
import { draggable, dragged } from "./outgoing.js";
import { state } from "./viewer.js";
import { t } from "./words.js";

function Item({ picture }) {
  const { id, name, status } = picture;
  const busy = status === "working" || status === "waiting";
  const mood = status === "done" && picture.info && !picture.info.subject ? "none" : status === "done" && stale(picture) ? "stale" : status;
  const label = status === "failed" ? sentence(picture.error) : mood === "none" ? t("subject.none") : state(picture);
  return html`<li data-mood=${mood} data-id=${id}>
    <button class="choose" aria-current=${selected.value === id} aria-label=${`${name}: ${label}`} onClick=${() => (selected.value = id)}
      draggable=${draggable.value.id === id} onDragStart=${(event) => dragged(event, picture)}>
      <span class="thumb">${picture.thumb ? html`<img src=${picture.thumb} alt="" draggable=${false} />` : html`<${Icon} name="picture" />`}</span>
      <span class="name">${name}</span>
      <span class="status" title=${status === "failed" ? label : undefined}>${busy && html`<span class="spinner" data-still=${status === "waiting" ? "" : undefined}></span>`}${label}</span>
    </button>
    ${busy
      ? html`<button class="act" aria-label=${t("cancel.one", { name })} title=${t("cancel")} onClick=${() => cancel(id)}><${Icon} name="close" /></button>`
      : html`${["failed", "cancelled"].includes(status) && html`<button class="act" aria-label=${t("retry.one", { name })} title=${t("retry")} onClick=${() => again(id)}><${Icon} name="retry" /></button>`}
          <button class="act" aria-label=${t("remove.one", { name })} title=${t("remove")} onClick=${() => remove(id)}><${Icon} name="close" /></button>`}
  </li>`;
}

export function List() {
  const all = pictures.value, found = counts.value;
  const open = found.waiting + found.working;
  const old = all.filter((each) => stale(each) && each.id !== selected.value).length; // that one is made anew by itself
  return html`<nav class="list" aria-label=${t("list")}>
    <div class="list-head">
      <h2>${t("list")} <span class="count">${found.done}/${all.length}</span></h2>
      <div class="split"><button class="button small" onClick=${chooseFiles}><${Icon} name="add" />${t("add")}</button>
        <button class="button small" aria-label=${t("add.more")} title=${t("add.more")} onClick=${showWays}><${Icon} name="more" /></button></div>
    </div>
    ${open > 0 && html`<div class="run"><progress max=${all.length} value=${all.length - open} aria-label=${t("progress")}></progress>
      <button class="link" onClick=${cancelAll}>${t("cancel.all")}</button></div>`}
    <ol>${all.map((each) => html`<${Item} key=${each.id} picture=${each} />`)}</ol>
    <div class="list-foot">
      ${open === 0 && old > 0 && html`<button class="link" onClick=${renewAll}>${t("renew", { n: old })}</button>`}
      ${found.failed + found.cancelled > 0 && html`<button class="link" onClick=${retryAll}>${t("retry.all")}</button>`}
      <button class="link" onClick=${clear}>${t("clear")}</button>
    </div>
  </nav>`;
}
