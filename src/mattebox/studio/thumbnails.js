// Small pictures for the list, drawn one after the other: a large photo in memory at a time, whatever the list's length.
import * as store from "./store.js";
import { find, update } from "./queue.js";

const SIDE = 192;
let last = Promise.resolve();

// Draw the thumbnail of a picture from its "original" or "result"; without either, show the one that is kept.
export function thumbnail(id, which = null) {
  last = last.then(() => draw(id, which));
  return last;
}

async function draw(id, which) {
  if (!find(id)) return;
  const made = which === null ? await store.file(id, "thumb") : await small(await store.file(id, which));
  if (!made || !find(id)) return; // this browser cannot show the file: the list shows its name
  if (which !== null) {
    await store.putFile(id, "thumb", made);
    store.tell({ thumb: id });
  }
  const before = find(id)?.thumb;
  if (before) URL.revokeObjectURL(before);
  update(id, { thumb: URL.createObjectURL(made) }, { keep: false });
}

export async function small(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    return null;
  }
  const scale = Math.min(1, SIDE / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const pen = canvas.getContext("2d");
  pen.imageSmoothingQuality = "high";
  pen.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return new Promise((resolve) => canvas.toBlob(resolve, "image/webp", 0.85));
}
