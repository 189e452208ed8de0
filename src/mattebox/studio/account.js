// The key of the API: kept in this tab until it is closed, and nowhere else.
import { effect, html, signal, useEffect, useState } from "./view.js";
import * as api from "./api.js";
import { Dialog } from "./dialog.js";
import { pump, wantsKey } from "./queue.js";
import { t } from "./words.js";

const shown = signal(false);
export const showKey = () => (shown.value = true);
effect(() => {
  if (wantsKey.value) shown.value = true; // it may be closed nevertheless: the page says what waits
});

export function Account() {
  const [used, setUsed] = useState("");
  useEffect(() => {
    if (shown.value) api.usage().then((found) => setUsed(t(found.allowed === null ? "used" : "used.of", found)), () => setUsed(""));
  }, [shown.value]);
  if (!shown.value) return null;
  const save = (event) => {
    event.preventDefault();
    api.setKey(new FormData(event.target).get("key").trim());
    close();
  };
  const close = () => {
    shown.value = wantsKey.value = false;
    pump();
  };
  return html`<${Dialog} title=${t("key")} onClose=${() => (shown.value = false)}>
    <p>${wantsKey.value ? t("key.wanted") : t("key.about")}</p>
    <form class="address" onSubmit=${save}><label class="sr" for="key">${t("key")}</label>
      <input id="key" name="key" type="password" autocomplete="off" value=${api.key.value} />
      <button class="button primary">${t("key.save")}</button></form>
    ${used && html`<p class="quiet">${used}</p>`}<//>`;
}
