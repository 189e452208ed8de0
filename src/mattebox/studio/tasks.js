// Tasks: pictures that the server works on by itself, also while this page is closed. What it makes of a picture of the
// list comes back to it.
import { computed, effect, html, signal, untracked, Icon } from "./view.js";
import * as api from "./api.js";
import { Dialog } from "./dialog.js";
import { named } from "./outgoing.js";
import { finish, find, pictures, said, selected, sentence, update, wantsKey } from "./queue.js";
import { behindFile, order, recipe } from "./recipe.js";
import * as store from "./store.js";
import { percent, t } from "./words.js";

const MOST = 200; // that are shown
const AGAIN = 3000; // milliseconds until a server that did not answer is asked once more
const shown = signal(false);
const tasks = signal([]); // the newest first
const trouble = signal("");
export const showTasks = () => (shown.value = true);
const sent = computed(() => pictures.value.filter((each) => each.task));
const wanted = computed(() => !wantsKey.value && (shown.value || sent.value.length > 0));
const why = ({ kind, reason }) => ({ kind, message: reason });
const isOpen = (task) => ["queued", "running"].includes(task.status);

let control = null;
effect(() => {
  if (wanted.value && !control) untracked(watch);
  if (!wanted.value) {
    control?.abort();
    control = null;
  }
});

async function watch() {
  const mine = (control = new AbortController());
  let last = "";
  while (!mine.signal.aborted) {
    try {
      for await (const event of api.events("api/v1/tasks/events", last, mine.signal)) {
        last = event.id;
        trouble.value = "";
        await learn(event.data);
      }
    } catch (error) {
      if (error.name === "AbortError") return;
      if (!(error instanceof api.Problem)) throw error;
      trouble.value = sentence(error);
      if (error.status === 401) wantsKey.value = true;
      else await new Promise((resolve) => setTimeout(resolve, AGAIN));
    }
  }
}

async function learn(task) {
  const others = tasks.value.filter((each) => each.id !== task.id);
  tasks.value = [task, ...others].sort((one, other) => other.created.localeCompare(one.created)).slice(0, MOST);
  const picture = sent.value.find((each) => each.task === task.id);
  if (!picture) return;
  const { id } = picture;
  if (task.status === "succeeded") {
    const { result } = task;
    const blob = result.url ? await (await api.get(local(result.url))).blob() : null;
    const milliseconds = Date.parse(task.finished) - Date.parse(task.started);
    const { scene, backend, score = null, warning = null } = result.backdrop ?? {};
    const facts = { ...result, milliseconds, ambiguity: null, bytes: blob?.size, type: result.media_type, chosen: result.corrections };
    if (blob) await finish(id, blob, { ...facts, backdrop: scene ?? backend ?? null, score, warning }, picture.ordered);
    else update(id, { status: "failed", error: { kind: "expired", message: "" }, task: null });
  } else if (task.status === "failed") {
    update(id, { status: "failed", error: why(task), task: null });
    said.value = t("said.failed", { name: picture.name, why: sentence(why(task)) });
  } else if (task.status === "cancelled") update(id, { status: "cancelled", task: null });
}

// The page may ask its own server only, by whatever name and path it has for the page.
const local = (url) => new URL(url).pathname.replace(/^.*?(?=results\/)/, "");

const sending = signal(null); // how many of how many

async function send(ids) {
  for (const [at, id] of ids.entries()) {
    sending.value = t("task.sending", { n: at + 1, of: ids.length });
    const picture = find(id);
    if (!picture || picture.status === "working") continue;
    const ordered = order(picture, recipe.value), { call } = ordered;
    update(id, { task: "sent" }, { keep: false }); // so that nobody else begins it
    try {
      const file = new File([await store.file(id, "original")], picture.name);
      const task = await api.submit(call, file, call.behind ? behindFile.value : null);
      remember(task.id, picture.name);
      update(id, { status: "waiting", error: null, note: null, task: task.id, ordered });
      await learn(task);
    } catch (error) {
      update(id, { task: null });
      if (!(error instanceof api.Problem)) throw error;
      if (error.status === 401) wantsKey.value = true;
      trouble.value = `${picture.name}: ${sentence(error)}`;
      if ([0, 401, 402, 429, 503].includes(error.status)) break; // it would be said of each
    }
  }
  sending.value = null;
}

// Tasks have no names at the server; the browser knows those that it sent.
const names = () => JSON.parse(localStorage.getItem("tasks") ?? "{}");
function remember(id, name) {
  const kept = Object.entries(names()).slice(1 - MOST);
  localStorage.setItem("tasks", JSON.stringify(Object.fromEntries([...kept, [id, name]])));
}

const giveUp = (id) => api.drop(`api/v1/tasks/${id}`).then(
  async (answer) => learn(await answer.json()),
  (error) => (trouble.value = sentence(error)),
);

function Row({ task, name }) {
  const { id, status, progress, result } = task;
  const label = status === "running" ? percent(progress / 100) : t(`task.${status}`);
  const picture = pictures.value.find((each) => each.name === name && each.status === "done");
  const title = name ?? id.slice(0, 8);
  return html`<li data-mood=${status} data-task=${id}><span class="name">${title}</span>
    <span class="status">${status === "failed" ? sentence(why(task)) : label}</span>
    ${isOpen(task)
      ? html`<progress max="100" value=${progress} aria-label=${title}></progress><button class="act" aria-label=${t("cancel.one", { name: title })} title=${t("cancel")} onClick=${() => giveUp(id)}><${Icon} name="close" /></button>`
      : result?.url && html`<a class="button small" href=${local(result.url)} download=${picture ? named(picture) : ""} aria-label=${t("task.get", { name: title })}><${Icon} name="download" />${t("download")}</a>`}</li>`;
}

function Sender() {
  const free = pictures.value.filter((each) => !each.task && each.status !== "working").map((each) => each.id);
  const one = free.filter((each) => each === selected.value);
  return html`<div class="row start">
      <button class="button primary" disabled=${!free.length || sending.value} onClick=${() => send(free)}>${sending.value ?? t("task.all", { n: free.length })}</button>
      <button class="button" disabled=${!one.length || sending.value} onClick=${() => send(one)}>${t("task.one")}</button></div>`;
}

export function TaskList() {
  if (!shown.value) return null;
  const known = names();
  return html`<${Dialog} title=${t("tasks")} onClose=${() => (shown.value = false)}>
    <p>${t("tasks.about")}</p><${Sender} />
    ${trouble.value && html`<p class="why" role="alert">${trouble.value}</p>`}
    <ul class="tasks" aria-live="polite">${tasks.value.map((each) => html`<${Row} key=${each.id} task=${each} name=${known[each.id]} />`)}</ul>
    ${!tasks.value.length && html`<p class="quiet">${t("tasks.none")}</p>`}<//>`;
}
