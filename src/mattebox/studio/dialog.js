// A dialog over the page: the browser's own, which keeps the focus in and closes with Escape.
import { html, useEffect, useRef, Icon } from "./view.js";
import { t } from "./words.js";

export function Dialog({ title, onClose, children }) {
  const dialog = useRef();
  useEffect(() => {
    dialog.current.showModal();
  }, []);
  const outside = (event) => event.target === dialog.current && dialog.current.close();
  return html`<dialog ref=${dialog} onClose=${onClose} onClick=${outside} aria-labelledby="dialog-title"><div class="dialog">
    <header><h2 id="dialog-title">${title}</h2><button class="act" aria-label=${t("close")} onClick=${() => dialog.current.close()}><${Icon} name="close" /></button></header>
    ${children}</div></dialog>`;
}
