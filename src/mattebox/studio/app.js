// The page: what is shown, and the start.
import { effect, html, render, signal, Icon } from "./view.js";
import { Account, showKey } from "./account.js";
import { Call } from "./call.js";
import { Adding, Choosers, dropping, useIncoming, Welcome } from "./incoming.js";
import { Keys, showKeys, useKeys } from "./keys.js";
import { Layout } from "./layout.js";
import { Library, showLibrary } from "./library.js";
import { List } from "./list.js";
import { Actions, Output } from "./output.js";
import { Mend } from "./mend.js";
import { Place } from "./place.js";
import { again, current, notice, pictures, restore, said, sentence, server, stale, wantsKey } from "./queue.js";
import { mending } from "./recipe.js";
import { remembers } from "./store.js";
import { showTasks, TaskList } from "./tasks.js";
import { Viewer } from "./viewer.js";
import { choose, language, LANGUAGES, speak, t } from "./words.js";

const THEMES = ["auto", "light", "dark"];
const theme = signal(localStorage.getItem("theme") ?? "auto");

effect(() => {
  localStorage.setItem("theme", theme.value);
  document.documentElement.dataset.theme = theme.value;
});

function Head() {
  const turn = () => (theme.value = THEMES[(THEMES.indexOf(theme.value) + 1) % THEMES.length]);
  return html`<header class="head">
    <span class="brand"><img src="studio/icon.svg" alt="" width="26" height="26" />mattebox</span>
    <select class="plain" aria-label=${t("language")} value=${language.value} onChange=${(event) => choose(event.target.value).catch((error) => (notice.value = sentence(error)))}>
      ${Object.entries(LANGUAGES).map(([code, name]) => html`<option value=${code}>${name}</option>`)}</select>
    <button class="act" aria-label=${t("library")} title=${t("library")} onClick=${showLibrary}><${Icon} name="library" /></button>
    <button class="act" aria-label=${t("tasks")} title=${t("tasks")} onClick=${showTasks}><${Icon} name="tasks" /></button>
    <button class="act" aria-label=${t("theme")} title=${`${t("theme")}: ${t(`theme.${theme.value}`)}`} onClick=${turn}><${Icon} name="theme" /></button>
    <button class="act" aria-label=${t("key")} title=${t("key")} onClick=${showKey}><${Icon} name="key" /></button>
    <button class="act" aria-label=${t("keys")} title=${t("keys")} onClick=${showKeys}><${Icon} name="help" /></button>
    <a class="link" href="docs">API</a></header>`;
}

function Banner() {
  const text = server.value === "away" ? t("away") : wantsKey.value ? t("key.wanted") : !remembers.value ? t("forgetful") : "";
  return html`${text && html`<p class="banner" role="alert">${text}</p>`}
    ${notice.value && html`<p class="banner soft" role="status">${notice.value}<button class="act" aria-label=${t("close")} onClick=${() => (notice.value = "")}><${Icon} name="close" /></button></p>`}`;
}

function App() {
  useIncoming();
  useKeys();
  const empty = pictures.value.length === 0;
  return html`<${Head} /><${Banner} />
    <main data-empty=${empty ? "" : undefined}>
      ${empty ? html`<${Welcome} />` : html`<h1 class="sr">mattebox</h1><${List} /><${Viewer} />
        <aside class="panels" aria-label=${t("options")}><div class="scroll"><${Mend} /><${Place} /><${Layout} /><${Output} /></div><${Actions} /></aside>`}
    </main>
    ${dropping.value && html`<div class="dropping"><strong>${t("drop")}</strong></div>`}
    <div class="sr" role="status" aria-live="polite" id="live">${said.value}</div>
    <${Choosers} /><${Adding} /><${Call} /><${Keys} /><${Account} /><${Library} /><${TaskList} />`;
}

// Another recipe: the picture that is looked at is made anew at once, the others when they are looked at or asked for.
// What another tab has made of it, that tab will make anew.
let timer;
effect(() => {
  const picture = current.value;
  clearTimeout(timer);
  if (picture && stale(picture) && !picture.foreign) timer = setTimeout(() => stale(current.value ?? {}) && again(current.value.id), mending.value ? 50 : 400);
});

await speak();
render(html`<${App} />`, document.getElementById("app"));
await restore();
