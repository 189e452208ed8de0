// The viewer: before and after, at any zoom, on any ground.
import { html, signal, useEffect, useLayoutEffect, useRef, useState, Icon } from "./view.js";
import { models } from "./api.js";
import * as store from "./store.js";
import { Brush, byKey, pen } from "./brush.js";
import { fit, listen, move, pixelsAt, zoom } from "./gestures.js";
import { draggable } from "./outgoing.js";
import { mending } from "./recipe.js";
import { again, current, sentence, stale, update } from "./queue.js";
import { percent, seconds, t } from "./words.js";

export const GROUNDS = ["checker", "black", "white", "pink", "own", "alpha"];
export const ground = signal("checker");
export const own = signal("#2f6fdb");
export const slider = signal(0);
export const held = signal(false);
export const view = signal({ x: 0, y: 0, z: 1 });
let size = null; // of the stage and the picture that is on it

export function zoomBy(factor) {
  if (size) view.value = zoom(view.value, factor, { x: size.stage.width / 2, y: size.stage.height / 2 });
}
export const zoomTo = (share) => zoomBy(share / pixelsAt(view.value.z));
export const zoomFit = () => size && (view.value = fit(size.stage, size.picture));
export const pan = (dx, dy) => (view.value = move(view.value, dx, dy));

// The addresses of the files of the picture that is looked at, and of no other: they hold the files in memory.
function useFiles(picture) {
  const [files, setFiles] = useState({});
  const id = picture?.id;
  const stamp = picture?.stamp ?? 0;
  useEffect(() => {
    let over = false;
    const made = [];
    const load = async () => {
      const found = { id, stamp };
      for (const which of ["original", "result"]) {
        const file = id && (which === "original" || stamp) ? await store.file(id, which) : null;
        if (!file || over) continue;
        const url = URL.createObjectURL(file);
        made.push(url);
        const shown = await measured(url);
        if (shown) found[which] = { url, ...shown };
      }
      if (over) return;
      setFiles(found);
      if (id && !found.original !== (picture.unseen ?? false)) update(id, { unseen: !found.original });
      draggable.value = { id: found.result ? id : null, url: found.result?.url };
    };
    load();
    return () => {
      over = true;
      draggable.value = { id: null, url: null };
      made.forEach((url) => URL.revokeObjectURL(url));
    };
  }, [id, stamp]);
  return files.id === id ? files : {};
}

async function measured(url) {
  const picture = new Image();
  picture.src = url;
  try {
    await picture.decode();
  } catch {
    return null; // this browser cannot show it
  }
  return { width: picture.naturalWidth, height: picture.naturalHeight };
}

// Where the original lies in the result's frame: under its subject, or else fitted in.
function under(original, frame, picture) {
  const { plain, info } = picture;
  const scale = plain?.width ? original.width / plain.width : 1; // the server may have read it at another size
  if (plain?.subject && info?.subject) {
    const by = info.subject.width / (plain.subject.width * scale);
    return { by, x: info.subject.left - plain.subject.left * scale * by, y: info.subject.top - plain.subject.top * scale * by };
  }
  const by = Math.min(frame.width / original.width, frame.height / original.height);
  return { by, x: (frame.width - original.width * by) / 2, y: (frame.height - original.height * by) / 2 };
}

function Layers({ files, picture, frame, split }) {
  const { original, result } = files;
  const onGround = picture.info?.transparent ?? false;
  const shown = onGround ? ground.value : "none";
  const cut = `inset(0 0 0 ${split * 100}%)`;
  const at = original && under(original, frame, picture);
  const style = {
    width: `${frame.width}px`,
    height: `${frame.height}px`,
    transform: `translate(${view.value.x}px, ${view.value.y}px) scale(${view.value.z})`,
  };
  return html`<div class="picture" style=${style} data-pixels=${pixelsAt(view.value.z) >= 2 ? "" : undefined}>
    ${result && html`<div class="after" data-ground=${shown} style=${{ clipPath: cut, "--own": own.value, "--check": `${16 / view.value.z}px` }}>
      ${shown === "alpha"
        ? html`<div class="alpha" style=${{ maskImage: `url("${result.url}")` }}></div>`
        : html`<img src=${result.url} alt=${t("alt.result", { name: picture.name })} draggable=${false} />`}
    </div>`}
    ${original && html`<div class="before" style=${{ clipPath: result ? `inset(0 ${(1 - split) * 100}% 0 0)` : "none" }}>
      <img src=${original.url} alt=${t("alt.original", { name: picture.name })} draggable=${false}
        style=${{ width: `${original.width}px`, transform: `translate(${at.x}px, ${at.y}px) scale(${at.by})` }} />
    </div>`}
  </div>`;
}

const THUMB = 44; // pixels of the slider's handle
const BESIDE = 10; // and beside the slider

export function Viewer() {
  const picture = current.value;
  const files = useFiles(picture);
  const stage = useRef();
  const [box, setBox] = useState({ width: 0, height: 0 });
  const mends = mending.value !== null && mending.value === picture?.id && files.original;
  const frame = (mends ? files.original : files.result) ?? files.original;
  useLayoutEffect(() => {
    const watch = new ResizeObserver(([entry]) => setBox({ width: entry.contentRect.width, height: entry.contentRect.height }));
    watch.observe(stage.current);
    const end = listen(stage.current, () => view.value, (next) => (view.value = next), pen);
    return () => (watch.disconnect(), end());
  }, []);
  useLayoutEffect(() => {
    if (!frame || !box.width) return;
    size = { stage: box, picture: frame };
    zoomFit();
  }, [picture?.id, frame?.width, frame?.height, box.width, box.height]);
  if (size && frame) size.picture = frame;
  const line = BESIDE + THUMB / 2 + slider.value * (box.width - THUMB - 2 * BESIDE);
  const edge = slider.value === 0 ? 0 : slider.value === 1 ? 1 : frame ? (line - view.value.x) / (view.value.z * frame.width) : 0;
  const split = held.value || !files.result ? 1 : Math.min(Math.max(edge, 0), 1);
  const unseen = files.id && !files.original && !files.result && picture?.id === files.id;
  return html`<section class="viewer" aria-label=${t("viewer")}>
    <div class="stage" ref=${stage} data-ready=${frame ? "" : undefined} data-mends=${mends ? "" : undefined}
      tabindex=${mends ? 0 : undefined} role=${mends ? "application" : undefined} aria-label=${mends ? t("mend.stage") : undefined} onKeyDown=${mends ? byKey : undefined} onDblClick=${() => !mends && (pixelsAt(view.value.z) === 1 ? zoomFit() : zoomTo(1))}>
      ${frame && !mends && html`<${Layers} files=${files} picture=${picture} frame=${frame} split=${split} />`}
      ${mends && html`<${Brush} files=${files} picture=${picture} view=${view.value} ground=${ground.value} own=${own.value} held=${held.value} />`}
      ${!mends && files.result && files.original && html`${split > 0 && split < 1 && html`<div class="divider" style=${{ left: `${line}px` }}></div>`}
        <input class="compare" type="range" min="0" max="1" step="0.005" value=${slider.value} aria-label=${t("compare")}
          aria-valuetext=${t("compare.value", { share: percent(slider.value) })}
          onInput=${(event) => (slider.value = Number(event.target.value))} />`}
      ${unseen && html`<p class="over">${t("unseen")}</p>`}
      <${State} picture=${picture} />
    </div>
    <${Tools} files=${files} picture=${picture} />
    <${Facts} picture=${picture} />
  </section>`;
}

function State({ picture }) {
  if (!picture || picture.status === "done") return null;
  const sent = picture.note?.sent;
  if (picture.status === "failed")
    return html`<div class="over card" role="alert"><strong>${picture.name}</strong><p>${sentence(picture.error)}</p>
      <button class="button" onClick=${() => again(picture.id)}><${Icon} name="retry" />${t("retry")}</button></div>`;
  if (picture.status === "cancelled")
    return html`<div class="over card"><p>${t("cancelled")}</p><button class="button" onClick=${() => again(picture.id)}>${t("retry")}</button></div>`;
  return html`<div class="over pill"><span class="spinner"></span>${state(picture)}
    ${picture.status === "working" && sent < 1 && html`<progress max="1" value=${sent}></progress>`}</div>`;
}

export function state(picture) {
  const { status, note } = picture;
  if (status === "working") return note?.sent < 1 ? t("sending", { share: percent(note.sent) }) : t("working");
  if (picture.task) return t("task.queued");
  if (status === "waiting" && note?.until) return t(note.why, { seconds: note.until });
  return stale(picture) ? t("stale") : t(status);
}

function Tools({ files, picture }) {
  const can = mending.value || (picture?.info?.transparent && files.result);
  const hold = { onPointerDown: () => (held.value = true), onPointerUp: () => (held.value = false), onPointerLeave: () => (held.value = false) };
  return html`<div class="tools" role="toolbar" aria-label=${t("tools")}>
    <fieldset class="grounds" disabled=${!can} title=${can ? undefined : t("ground.none")}>
      <legend class="sr">${t("ground")}</legend>
      ${GROUNDS.map((each) => html`<label title=${t(`ground.${each}`)}>
        <input type="radio" name="ground" value=${each} checked=${ground.value === each} onChange=${() => (ground.value = each)} />
        <span class="swatch" data-ground=${each} style=${{ "--own": own.value }}></span><span class="sr">${t(`ground.${each}`)}</span></label>`)}
      ${ground.value === "own" && html`<input type="color" class="well" aria-label=${t("ground.own")} value=${own.value} onInput=${(event) => (own.value = event.target.value)} />`}
    </fieldset>
    <button class="button" ...${hold} disabled=${!files.result || !files.original} aria-pressed=${held.value} aria-label=${t("hold")} title=${t("hold")}><${Icon} name="eye" />${t("original")}</button>
    <div class="zoom" role="group" aria-label=${t("zoom")}>
      <button class="button" aria-label=${t("zoom.out")} onClick=${() => zoomBy(0.8)}>−</button>
      <button class="button share" aria-label=${t("zoom.pixels")} title=${t("zoom.pixels")} onClick=${() => zoomTo(1)}>${percent(Math.round(pixelsAt(view.value.z) * 100) / 100)}</button>
      <button class="button" aria-label=${t("zoom.in")} onClick=${() => zoomBy(1.25)}>+</button>
      <button class="button" onClick=${zoomFit}>${t("zoom.fit")}</button>
    </div>
  </div>`;
}

// The name of the network, where the picture was left to the server's own choice.
const network = (name) => (name === "auto" ? (models.value.find((each) => each.default)?.name ?? name) : name);

function Facts({ picture }) {
  const info = picture?.info;
  if (!info) return html`<p class="facts quiet">${picture ? picture.name : ""}</p>`;
  return html`<dl class="facts">
    <div data-mood=${info.subject ? "fine" : "warn"}><dt class=${info.subject ? "" : "sr"}>${t("subject")}</dt><dd>${info.subject ? t("subject.found") : t("subject.none")}</dd></div>
    ${info.confidence !== null && html`<div><dt>${t("confidence")}</dt><dd><meter min="0" max="1" low="0.7" high="0.9" optimum="1" value=${info.confidence}></meter>${percent(info.confidence)}</dd></div>`}
    <div><dt>${t("model")}</dt><dd>${network(info.model)}</dd></div>
    <div><dt>${t("time")}</dt><dd>${seconds(info.milliseconds)}</dd></div>
    <div><dt>${t("size")}</dt><dd>${info.width} × ${info.height}</dd></div>
    ${info.backdrop && html`<div><dt>${t("scene")}</dt><dd>${info.backdrop.split("/").pop()} ${info.score !== null ? percent(info.score) : ""}</dd></div>`}
    ${info.warning && html`<div data-mood="warn"><dt>${t("warning")}</dt><dd>${info.warning}</dd></div>`}
  </dl>`;
}
