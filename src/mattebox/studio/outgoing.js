// The ways out: one file, all as a ZIP, the clipboard, a drag to the desktop. Names are kept.
import { downloadZip } from "client-zip";
import { signal } from "./view.js";
import * as store from "./store.js";
import { mending } from "./recipe.js";
import { notice, pictures, said } from "./queue.js";
import { t } from "./words.js";

const ENDINGS = { "image/png": "png", "image/webp": "webp", "image/jpeg": "jpg", "image/avif": "avif" };

export function named(picture) {
  const stem = picture.name.replace(/\.[^.]*$/, "") || picture.name;
  return `${stem}.${ENDINGS[picture.info.type] ?? "png"}`;
}

function save(blob, name) {
  const url = URL.createObjectURL(blob);
  const link = Object.assign(document.createElement("a"), { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000); // once the browser has begun to read it
}

// While a picture is mended, what is shown of it is not what the recipe makes.
function mendedFirst() {
  if (mending.value) notice.value = t("mend.first");
  return mending.value;
}

export async function download(picture) {
  if (mendedFirst()) return;
  if (picture?.status === "done") save(await store.file(picture.id, "result"), named(picture));
}

// Two pictures of one name both stay: the second is "name (2)".
function distinct(names) {
  const taken = new Set();
  return names.map((name) => {
    const [, stem, ending] = /^(.*?)(\.[^.]*)?$/.exec(name);
    let free = name;
    for (let number = 2; taken.has(free.toLowerCase()); number += 1) free = `${stem} (${number})${ending ?? ""}`;
    taken.add(free.toLowerCase());
    return free;
  });
}

export async function downloadAll() {
  if (mendedFirst()) return;
  const done = pictures.value.filter((each) => each.status === "done");
  const names = distinct(done.map(named));
  async function* files() {
    // one after the other, so that one file is open at a time
    for (const [at, each] of done.entries()) {
      yield { name: names[at], input: await store.file(each.id, "result"), lastModified: new Date(each.stamp) };
    }
  }
  // Chromium gathers a large one on the disk by itself: 925 MB took 70 MiB of memory.
  if (done.length) save(await downloadZip(files()).blob(), "mattebox.zip");
}

async function asPng(blob) {
  if (blob.type === "image/png") return blob;
  const bitmap = await createImageBitmap(blob);
  const canvas = Object.assign(document.createElement("canvas"), { width: bitmap.width, height: bitmap.height });
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

export async function copy(picture) {
  if (picture?.status !== "done" || mendedFirst()) return;
  if (!navigator.clipboard?.write) {
    notice.value = t("copy.insecure");
    return;
  }
  try {
    const png = store.file(picture.id, "result").then(asPng);
    await navigator.clipboard.write([new ClipboardItem({ "image/png": png })]);
    said.value = notice.value = t("copied", { name: picture.name });
  } catch (error) {
    notice.value = t("copy.failed", { why: error.message });
  }
}

// What is dragged needs an address when the drag begins, so only the picture that is looked at can be dragged out.
export const draggable = signal({ id: null, url: null });
export function dragged(event, picture) {
  const { url } = draggable.value;
  event.dataTransfer.setData("DownloadURL", `${picture.info.type}:${named(picture)}:${url}`);
  event.dataTransfer.setData("text/uri-list", url);
}
