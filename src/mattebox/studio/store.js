// The pictures of the page in the browser's own database: files stay on the disk, and a reload finds them again.
// Where there is none (a private window of some browsers), they live in memory, and `remembers` says so.
import { signal } from "./view.js";

export const remembers = signal(true);
const STORES = ["pictures", "files"];
const inMemory = { pictures: new Map(), files: new Map() };
let opened;

function open() {
  opened ??= new Promise((resolve) => {
    const request = indexedDB.open("mattebox", 1);
    request.onupgradeneeded = () => STORES.forEach((each) => request.result.createObjectStore(each));
    request.onsuccess = () => resolve(request.result);
    request.onerror = request.onblocked = () => {
      remembers.value = false;
      resolve(null);
    };
  });
  return opened;
}

async function run(store, mode, what) {
  const database = await open();
  if (!database) return undefined;
  return new Promise((resolve, reject) => {
    const transaction = database.transaction(store, mode);
    const request = what(transaction.objectStore(store));
    transaction.oncomplete = () => resolve(request.result);
    transaction.onabort = transaction.onerror = () => reject(transaction.error ?? request.error);
  });
}

export async function put(store, id, value) {
  if (remembers.value) {
    try {
      await run(store, "readwrite", (each) => each.put(value, id));
      if (remembers.value) return;
    } catch {
      remembers.value = false; // the disk is full: what comes now is kept in memory only, and the page says so
    }
  }
  inMemory[store].set(id, value);
}

export async function get(store, id) {
  return inMemory[store].get(id) ?? (await run(store, "readonly", (each) => each.get(id)));
}

export async function all(store) {
  const kept = (await run(store, "readonly", (each) => each.getAll())) ?? [];
  return [...kept, ...inMemory[store].values()];
}

// Other tabs show the same list: they are told what has changed in it.
const channel = new BroadcastChannel("mattebox");
export const tell = (message) => channel.postMessage(message);
export const listen = (what) => (channel.onmessage = (event) => what(event.data));

// One tab at a time works on a picture. Without locks (a page that comes neither over https nor from this machine) two
// tabs may do the same work twice; nothing is lost by that.
export const locked = (name, abort, what) => (navigator.locks ? navigator.locks.request(name, { signal: abort }, what) : what());

// The files of one picture.
export const file = (id, which) => get("files", `${id}:${which}`);
export const putFile = (id, which, blob) => put("files", `${id}:${which}`, blob);

export async function forget(ids) {
  const keys = { pictures: ids, files: ids.flatMap((id) => ["original", "result", "thumb"].map((each) => `${id}:${each}`)) };
  for (const store of STORES) {
    for (const key of keys[store]) inMemory[store].delete(key);
    await run(store, "readwrite", (each) => keys[store].map((key) => each.delete(key)).at(-1));
  }
}
