// The native API, as any other client uses it. Its description is at docs.
import { signal } from "./view.js";

export const key = signal(sessionStorage.getItem("key") ?? "");

export function setKey(value) {
  key.value = value;
  sessionStorage.setItem("key", value); // ends with the tab
}

export const address = (path) => new URL(path, document.baseURI);
const authorization = () => (key.value ? { Authorization: `Bearer ${key.value}` } : {});

// A failure in the server's words (RFC 9457), or one of the page's own, which has a kind and no words; status 0 where
// no answer came.
export class Problem extends Error {
  constructor(status, { detail = "", kind = status ? "" : "broken", parameter = null } = {}, retryAfter = null) {
    super(detail || (kind ? "" : `HTTP ${status}`));
    Object.assign(this, { status, kind, parameter, retryAfter });
  }
}

function problem(status, text, retryAfter) {
  let told = {};
  try {
    told = JSON.parse(text);
  } catch {
    // a proxy answers in its own way; the status has to do
  }
  return new Problem(status, told, retryAfter ? Number(retryAfter) || null : null);
}

export async function get(path, options = {}) {
  let answer;
  try {
    answer = await fetch(address(path), { ...options, headers: { ...authorization(), ...options.headers } });
  } catch (error) {
    throw error.name === "AbortError" ? error : new Problem(0);
  }
  if (!answer.ok) throw problem(answer.status, await answer.text(), answer.headers.get("Retry-After"));
  return answer;
}

// Delete what is at a path: a task is given up, an image forgotten.
export const drop = (path) => get(path, { method: "DELETE" });

// A form, with news of how much of it has been sent, which `fetch` does not tell.
function post(path, form, { signal: abort, sent = () => {} } = {}) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", address(path));
    request.responseType = "blob";
    for (const [name, value] of Object.entries(authorization())) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => event.lengthComputable && sent(event.loaded / event.total);
    request.onload = async () => {
      const header = (name) => request.getResponseHeader(name);
      if (request.status < 300) resolve({ blob: request.response, header });
      else reject(problem(request.status, await request.response.text(), header("Retry-After")));
    };
    request.onerror = () => reject(new Problem(0));
    request.onabort = () => reject(new DOMException("cancelled", "AbortError"));
    abort?.throwIfAborted(); // a signal that was given before says nothing again
    abort?.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}

function filled(call, picture, behind) {
  const form = new FormData();
  form.set("image", picture, picture.name || "picture");
  for (const [name, value] of Object.entries(call.options)) form.set(name, value);
  if (call.corrections) form.set("corrections", JSON.stringify(call.corrections));
  if (behind) form.set("background_image", behind, behind.name || "background");
  return form;
}

const json = async (asked) => JSON.parse(await (await asked).blob.text());

// One edit: the picture's file and the options in, the result's file and what is known of it out.
export async function edit(call, picture, behind, control) {
  const { blob, header } = await post(`api/v1/${call.path}`, filled(call, picture, behind), control);
  return { blob, info: measures(header, blob) };
}

// The same as a task, which is done later.
export const submit = (call, picture, behind) => json(post("api/v1/tasks", filled(call, picture, behind)));

function measures(header, blob) {
  const [left, top, width, height] = (header("X-Mattebox-Subject") ?? "none").split(",").map(Number);
  const number = (name) => (header(name) === null ? null : Number(header(name)));
  return {
    subject: width ? { left, top, width, height } : null,
    confidence: number("X-Mattebox-Confidence"),
    ambiguity: number("X-Mattebox-Ambiguity"),
    width: number("X-Image-Width"),
    height: number("X-Image-Height"),
    milliseconds: number("X-Processing-Time-Ms"),
    backdrop: header("X-Mattebox-Backdrop"),
    score: number("X-Mattebox-Backdrop-Score"),
    warning: header("X-Mattebox-Warning"),
    chosen: header("X-Mattebox-Corrections"),
    bytes: blob.size,
    type: blob.type,
  };
}

// The picture behind an address. The page may not fetch from other sites, so the server does, and forgets it again.
export async function fetched(url, control) {
  const form = new FormData();
  form.set("image_url", url);
  const { id } = await json(post("api/v1/images", form, control));
  try {
    return await kept(id);
  } finally {
    await drop(`api/v1/images/${id}`);
  }
}

// The images that are kept.
export const kept = async (id, abort) => (await get(`api/v1/images/${id}/file`, { signal: abort })).blob();
export const images = async (limit, start) => (await get(`api/v1/images?limit=${limit}${start ? `&start=${start}` : ""}`)).json();
export const holdings = async () => (await get("api/v1/library")).json();
export function keep(picture, name) {
  const form = new FormData();
  form.set("image", picture, picture.name);
  form.set("name", name);
  return json(post("api/v1/images", form));
}

// Server-sent events until the server ends the stream. `EventSource` sends no key, so they are read here.
export async function* events(path, last, abort) {
  const answer = await get(path, { signal: abort, headers: last ? { "Last-Event-ID": last } : {} });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read().catch((error) => {
      throw error.name === "AbortError" ? error : new Problem(0);
    });
    if (done) return;
    const blocks = (text + value).split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split("\n").map((line) => /^(\w*): ?(.*)$/.exec(line)?.slice(1) ?? []));
      if (fields.data) yield { id: fields.id, data: JSON.parse(fields.data) };
    }
  }
}

// The networks that are installed; empty while the key is missing, and `auto` is always there.
export const models = signal([]);
export async function askForModels() {
  try {
    models.value = (await (await get("api/v1/models")).json()).models.filter((each) => each.installed);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
  }
}
export const usage = async () => (await get("api/v1/me")).json();
export async function scenes(prompt, abort) {
  const query = prompt ? `?prompt=${encodeURIComponent(prompt)}` : "";
  return (await (await get(`api/v1/scenes${query}`, { signal: abort })).json()).scenes;
}
export const thumbnail = async (name) =>
  (await get(`api/v1/scenes/${name.split("/").map(encodeURIComponent).join("/")}/thumbnail`)).blob();
export const healthy = () => get("health").then(() => true, () => false);
