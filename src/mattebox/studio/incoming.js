// The ways in: files, a folder, the camera, a drop anywhere, the clipboard, an address, the sample.
import { html, useEffect, useRef, useState, signal, Icon } from "./view.js";
import * as api from "./api.js";
import { Dialog } from "./dialog.js";
import { add, notice, pictures, sentence, wantsKey } from "./queue.js";
import { t } from "./words.js";

const PICTURE = /^image\//;
const NAMED = /\.(jpe?g|png|webp|avif|heic|heif|tiff?|bmp|gif)$/i;
const isPicture = (file) => PICTURE.test(file.type) || NAMED.test(file.name);
export const dropping = signal(false);
const choosers = {};

function take(files) {
  const found = [...files].filter(isPicture);
  notice.value = found.length || !files.length ? "" : t("no_pictures");
  return add(found);
}

export const chooseFiles = () => choosers.files?.click();
const chooseFolder = () => choosers.folder?.click();
const takePhoto = () => choosers.camera?.click();

const adding = signal(false);
export const showWays = () => (adding.value = pictures.value.length > 0);

async function sample() {
  try {
    const answer = await api.get("studio/samples/mug.jpg");
    await add([new File([await answer.blob()], "mug.jpg", { type: "image/jpeg" })]);
  } catch (error) {
    notice.value = sentence(error);
  }
}

async function addressed(url) {
  try {
    const blob = await api.fetched(url);
    const name = decodeURIComponent(new URL(url).pathname.split("/").pop()) || "picture";
    await add([new File([blob], name, { type: blob.type })]);
    return "";
  } catch (error) {
    if (error.status === 401) wantsKey.value = true;
    return sentence(error);
  }
}

// All files of what was dropped, folders and what is in them too.
async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  return entries.length ? (await Promise.all(entries.map(inside))).flat() : [...transfer.files];
}

async function inside(entry) {
  if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))];
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const part = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!part.length) break;
    found.push(...part);
  }
  return (await Promise.all(found.map(inside))).flat();
}

const carriesFiles = (event) => [...event.dataTransfer.types].includes("Files");

export function useIncoming() {
  useEffect(() => {
    const over = (event) => {
      if (!carriesFiles(event)) return;
      event.preventDefault();
      dropping.value = true;
    };
    const leave = (event) => event.relatedTarget === null && (dropping.value = false);
    const drop = async (event) => {
      if (!carriesFiles(event)) return;
      event.preventDefault();
      dropping.value = false;
      take(await dropped(event.dataTransfer));
    };
    const paste = (event) => {
      if (event.target.closest("input, textarea")) return;
      const text = event.clipboardData.getData("text/plain").trim();
      if (event.clipboardData.files.length) take(event.clipboardData.files);
      else if (/^https?:\/\//.test(text)) addressed(text).then((why) => (notice.value = why));
    };
    const listeners = { dragover: over, dragleave: leave, drop, paste };
    for (const [name, listener] of Object.entries(listeners)) window.addEventListener(name, listener);
    return () => Object.entries(listeners).forEach(([name, listener]) => window.removeEventListener(name, listener));
  }, []);
}

export function Choosers() {
  const taken = (event) => {
    take(event.target.files);
    event.target.value = "";
  };
  return html`<input type="file" id="files" hidden multiple accept="image/*,.heic,.heif,.avif,.tif,.tiff" aria-label=${t("choose")} ref=${(each) => (choosers.files = each)} onChange=${taken} />
    <input type="file" id="folder" hidden webkitdirectory aria-label=${t("folder")} ref=${(each) => (choosers.folder = each)} onChange=${taken} />
    <input type="file" id="camera" hidden accept="image/*" capture="environment" aria-label=${t("camera")} ref=${(each) => (choosers.camera = each)} onChange=${taken} />`;
}

function Address() {
  const [why, setWhy] = useState("");
  const [busy, setBusy] = useState(false);
  const input = useRef();
  const submit = async (event) => {
    event.preventDefault();
    setBusy(true);
    const failure = await addressed(input.current.value.trim());
    setBusy(false);
    setWhy(failure);
    if (!failure && input.current) input.current.value = "";
  };
  return html`<form class="address" onSubmit=${submit}>
    <label class="sr" for="address">${t("address")}</label>
    <input id="address" type="url" required placeholder="https://…/photo.jpg" ref=${input} aria-describedby="address-why" />
    <button class="button" disabled=${busy}>${busy ? t("fetching") : t("fetch")}</button>
    <p class="why" id="address-why" role="alert">${why}</p>
  </form>`;
}

function Ways() {
  return html`<div class="row">
      <button class="button primary" onClick=${chooseFiles}>${t("choose")}</button>
      <button class="button camera" onClick=${takePhoto}>${t("camera")}</button>
      <button class="button" onClick=${chooseFolder}>${t("folder")}</button>
    </div>
    <${Address} />
    <div class="sample">
      <span>${t("sample")}</span>
      <button onClick=${sample} aria-label=${t("sample.mug")}><img src="studio/samples/mug-small.jpg" alt="" width="96" height="72" /></button>
    </div>`;
}

// The ways in once more, when there are pictures; it closes when another one has come.
export function Adding() {
  const count = pictures.value.length;
  const before = useRef(count);
  useEffect(() => {
    if (count > before.current) adding.value = false;
    before.current = count;
  }, [count]);
  return adding.value && count > 0 && html`<${Dialog} title=${t("keys.add")} onClose=${() => (adding.value = false)}><${Ways} /><//>`;
}

// What a newcomer sees.
export function Welcome() {
  return html`<section class="welcome" aria-labelledby="welcome">
    <div class="drop">
      <div class="drop-mark"><${Icon} name="picture" /></div>
      <h1 id="welcome">${t("welcome")}</h1>
      <p>${t("welcome.how")}</p>
      <${Ways} />
    </div>
    <p class="quiet">${t("welcome.private")}</p>
  </section>`;
}
