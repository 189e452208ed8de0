// The pictures and the work on them: two at a time, the one that is looked at first.
import { batch, computed, effect, signal, untracked } from "./view.js";
import * as api from "./api.js";
import * as store from "./store.js";
import { behindFile, mending, order, recipe, reread, sameFrame, transparent } from "./recipe.js";
import { has, language, percent, t } from "./words.js";
import { thumbnail } from "./thumbnails.js";

const LIMIT = 200;
const AT_ONCE = 2;
const TRIES = 20; // while the server is busy
const BROKEN = 3; // connections that break while a picture is sent

export const pictures = signal([]);
export const selected = signal(null);
export const notice = signal(""); // one sentence for the whole page
export const said = signal(""); // for screen readers
export const server = signal("ready"); // or "away"
export const wantsKey = signal(false);
const controls = new Map();
const leaving = new Set();
let counter = 0;

export const current = computed(() => pictures.value.find((each) => each.id === selected.value) ?? null);
export const counts = computed(() => {
  const found = { waiting: 0, working: 0, done: 0, failed: 0, cancelled: 0 };
  for (const each of pictures.value) found[each.status] += 1;
  return found;
});
// What was made, or could not be made, of another recipe or other corrections.
export const stale = (picture) => ["done", "failed"].includes(picture.status) && picture.asked !== order(picture).signature;

export const find = (id) => pictures.value.find((each) => each.id === id);

export function update(id, patch, { keep = true } = {}) {
  if (!find(id) || leaving.has(id)) return;
  pictures.value = pictures.value.map((each) => (each.id === id ? { ...each, ...patch } : each));
  return keep ? save(id) : undefined;
}

async function save(id) {
  await store.put("pictures", id, { ...find(id), note: null, thumb: null, foreign: false });
  store.tell({ changed: [id] });
}

// Not the same in two tabs, and in the order of time.
const nextId = () => String((counter = Math.max(counter + 1, Date.now() * 1000 + Math.floor(Math.random() * 1000))));

// Take files in, as many as there is room for.
export async function add(files) {
  const room = LIMIT - pictures.value.length;
  if (files.length > room) notice.value = t("limit", { limit: LIMIT, taken: Math.max(room, 0), left: files.length - Math.max(room, 0) });
  const taken = [...files].slice(0, Math.max(room, 0));
  const added = taken.map((file) => ({
    id: nextId(), name: file.name || "picture", bytes: file.size, status: "waiting", error: null, note: null, info: null, asked: null,
  }));
  // On the disk first: what was seen in the list is there after a reload.
  for (const [at, each] of added.entries()) {
    await store.putFile(each.id, "original", taken[at]);
    await store.put("pictures", each.id, each);
  }
  batch(() => {
    pictures.value = [...pictures.value, ...added];
    selected.value ??= added[0]?.id ?? null;
  });
  store.tell({ changed: added.map((each) => each.id) });
  if (added.length) said.value = t("added", { n: added.length });
  pump();
  for (const each of added) await thumbnail(each.id, "original");
}

const byTime = (one, other) => Number(one.id) - Number(other.id);
const asLeft = (each) => (each.status === "working" || each.draft ? { ...each, status: "waiting" } : each);

// What the last visit left here.
export async function restore() {
  store.listen(learn);
  await reread();
  const kept = (await store.all("pictures")).sort(byTime);
  pictures.value = kept.map(asLeft);
  selected.value = kept[0]?.id ?? null;
  pump();
  for (const each of kept) await thumbnail(each.id);
}

// Another tab has changed the list.
async function learn({ changed = [], gone = [], thumb }) {
  if (gone.length) leave(gone);
  if (thumb) thumbnail(thumb);
  for (const id of changed) {
    const record = await store.get("pictures", id);
    if (!record || leaving.has(id)) continue;
    if (controls.has(id)) {
      // It is worked on here, or waits for the tab that works on it.
      update(id, { marks: record.marks, undone: record.undone }, { keep: false });
      if (record.status === "cancelled") controls.get(id).abort();
    } else if (find(id)) update(id, { ...asLeft(record), thumb: find(id).thumb, note: null, foreign: true }, { keep: false });
    else {
      pictures.value = [...pictures.value, { ...asLeft(record), foreign: true }].sort(byTime);
      selected.value ??= id;
      thumbnail(id);
    }
  }
  pump();
}

export function pump() {
  if (server.value === "away" || wantsKey.value) return;
  const waiting = pictures.value.filter((each) => each.status === "waiting" && !each.note?.until && !each.task);
  waiting.sort((one, other) => (other.id === selected.value) - (one.id === selected.value));
  for (const each of waiting.slice(0, Math.max(0, AT_ONCE - controls.size))) work(each.id);
}

async function work(id) {
  const control = new AbortController();
  controls.set(id, control);
  update(id, { status: "working", error: null, note: { sent: 0 }, foreign: false }, { keep: false });
  try {
    await store.locked(`picture ${id}`, control.signal, () => make(id, control).catch((error) => failed(id, error)));
  } catch (error) {
    await failed(id, error);
  } finally {
    controls.delete(id);
    if (find(id)?.draft && mending.value !== id) again(id);
    pump();
  }
}

// While this waited for another tab, that may have done it, or given it up.
async function isDone(id, signature) {
  const record = await store.get("pictures", id);
  const over = record && (record.status === "cancelled" || (["done", "failed"].includes(record.status) && record.asked === signature));
  if (over) update(id, { ...record, thumb: find(id)?.thumb, note: null }, { keep: false });
  return over;
}

async function make(id, control) {
  if (!find(id)) return;
  const ordered = order(find(id)), { call, signature } = ordered;
  if (await isDone(id, signature)) return;
  update(id, { asked: signature }, { keep: false });
  const original = await store.file(id, "original");
  if (!original) throw new api.Problem(-1, { kind: "gone" });
  const picture = new File([original], find(id)?.name ?? "", { type: original.type });
  const { blob, info } = await api.edit(call, picture, call.behind ? behindFile.value : null, {
    signal: control.signal,
    sent: (share) => update(id, { note: { sent: share } }, { keep: false }),
  });
  await finish(id, blob, info, ordered);
}

// Whoever ends mending wants the picture as the recipe has it.
let mended = null;
effect(() => {
  if (mending.value && mending.value !== selected.value) mending.value = null;
  const before = mended;
  mended = mending.value;
  if (before && before !== mended) untracked(() => find(before)?.status === "done" && stale(find(before)) && again(before));
});

// The result of an order.
export async function finish(id, blob, info, { call, plan, mends, signature }) {
  if (!find(id)) return;
  const plain = sameFrame(plan) ? { subject: info.subject, width: info.width } : (find(id).plain ?? null);
  await store.putFile(id, "result", blob);
  const facts = { ...info, model: plan.model, transparent: transparent(plan), plain: sameFrame(plan) && transparent(plan), format: plan.format };
  const picture = find(id);
  if (!picture) return;
  const draft = mends && signature !== order(picture, recipe.value).signature;
  const strokes = call.corrections?.strokes ?? []; // those that are in the result
  await update(id, { status: "done", info: facts, plain, strokes, draft, asked: signature, task: null, note: null, tries: 0, stamp: Date.now() });
  said.value = t(info.subject ? "said.done" : "said.none", { name: picture.name, sure: percent(info.confidence ?? 0) });
  await thumbnail(id, "result");
}

async function failed(id, error) {
  const picture = find(id);
  if (!picture) return;
  if (error.name === "AbortError") return update(id, { status: "cancelled", note: null });
  if (!(error instanceof api.Problem)) {
    update(id, { status: "failed", error: told(error), note: null });
    throw error; // a defect of the page
  }
  const tries = (picture.tries ?? 0) + 1;
  if (error.status === 0 && tries <= BROKEN) {
    update(id, { status: "waiting", note: null, tries });
    return away();
  }
  if (error.status === 401) {
    update(id, { status: "waiting", note: null });
    wantsKey.value = true;
    return;
  }
  if ([429, 503].includes(error.status) && tries <= TRIES) return later(id, tries, error);
  await update(id, { status: "failed", error: told(error), note: null, tries: 0 });
  said.value = t("said.failed", { name: picture.name, why: sentence(error) });
}

function later(id, tries, error) {
  const rest = error.retryAfter ?? Math.min(2 ** tries, 15);
  update(id, { status: "waiting", tries, note: { until: rest, why: error.status === 429 ? "busy" : "loading" } });
  setTimeout(() => {
    if (find(id)?.status === "waiting") update(id, { note: null });
    pump();
  }, rest * 1000);
}

// No answer: everything waits until there is one.
function away() {
  if (server.value === "away") return;
  server.value = "away";
  said.value = t("away");
  const ask = async () => {
    if (!(await api.healthy())) return setTimeout(ask, 1500);
    server.value = "ready";
    said.value = t("back");
    pump();
  };
  setTimeout(ask, 500);
}

// What is kept of a failure: its words are found when it is shown, in the language of that time.
export const told = ({ kind, message }) => ({ kind, message });

// The server's own sentence where it is read; the kind of the failure before it in another language. A text is a
// failure too, as older versions kept them.
export function sentence(failure) {
  const { kind, message = failure } = failure, known = `kind.${kind}`;
  if (!has(known) || (message && language.value === "en")) return message;
  return message ? `${t(known)} (${message})` : t(known);
}

export function again(id) {
  if (controls.has(id) || !find(id) || find(id).task) return;
  update(id, { status: "waiting", error: null, note: null, tries: 0 });
  pump();
}

export function cancel(id) {
  if (controls.has(id)) controls.get(id).abort();
  else if (find(id)?.task) api.drop(`api/v1/tasks/${find(id).task}`).catch((error) => (notice.value = sentence(error)));
  else if (find(id)?.status === "waiting") update(id, { status: "cancelled", note: null });
}

export const cancelAll = () => pictures.value.filter((each) => ["waiting", "working"].includes(each.status)).forEach((each) => cancel(each.id));
export const retryAll = () => pictures.value.filter((each) => ["failed", "cancelled"].includes(each.status)).forEach((each) => again(each.id));
export const renewAll = () => pictures.value.filter(stale).forEach((each) => again(each.id));

// They leave the page when they have left the disk: what was seen to go does not come back with a reload.
async function removeAll(ids) {
  if (!ids.length) return;
  stop(ids);
  await store.forget(ids);
  store.tell({ gone: ids });
  leave(ids);
}

function stop(ids) {
  for (const id of ids) {
    leaving.add(id);
    controls.get(id)?.abort();
  }
}

function leave(ids) {
  stop(ids);
  const gone = new Set(ids);
  const at = pictures.value.findIndex((each) => gone.has(each.id));
  for (const { id, thumb } of pictures.value) if (thumb && gone.has(id)) URL.revokeObjectURL(thumb);
  const left = pictures.value.filter((each) => !gone.has(each.id));
  batch(() => {
    pictures.value = left;
    if (gone.has(selected.value)) selected.value = left[Math.min(at, left.length - 1)]?.id ?? null;
  });
}

export const remove = (id) => removeAll([id]);
export const clear = () => removeAll(pictures.value.map((each) => each.id));

export function step(by) {
  const at = pictures.value.findIndex((each) => each.id === selected.value);
  const next = pictures.value[Math.min(Math.max(at + by, 0), pictures.value.length - 1)];
  if (next) selected.value = next.id;
}
