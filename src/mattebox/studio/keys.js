// The keyboard: each action once, with the key that does it and the words of the sheet that lists them.
import { html, signal, useEffect } from "./view.js";
import { showCall } from "./call.js";
import { redo, resize, toggle, tool, undo } from "./corrections.js";
import { Dialog } from "./dialog.js";
import { chooseFiles, showWays } from "./incoming.js";
import { showLibrary } from "./library.js";
import { copy, download, downloadAll } from "./outgoing.js";
import { mending } from "./recipe.js";
import { again, cancel, current, remove, selected, step } from "./queue.js";
import { showTasks } from "./tasks.js";
import { ground, GROUNDS, held, pan, slider, zoomBy, zoomFit, zoomTo } from "./viewer.js";
import { t } from "./words.js";

const sheet = signal(false);
export const showKeys = () => (sheet.value = true);
const only = (what) => () => selected.value && what(selected.value);

const ACTIONS = [
  ["a", "keys.add", chooseFiles],
  ["f", "add.more", showWays],
  ["j", "keys.next", () => step(1)],
  ["k", "keys.previous", () => step(-1)],
  ["x", "keys.cancel", only(cancel)],
  ["r", "keys.retry", only(again)],
  ["Delete", "keys.remove", only(remove)],
  ["o", "keys.hold", () => (held.value = true), () => (held.value = false)],
  ["[", "keys.after", () => (mending.value ? resize(0.8) : (slider.value = Math.max(0, slider.value - 0.1)))],
  ["]", "keys.before", () => (mending.value ? resize(1.25) : (slider.value = Math.min(1, slider.value + 0.1)))],
  ["m", "keys.mend", toggle],
  ["e", "keys.erase", () => (tool.value = tool.value === "keep" ? "erase" : "keep")],
  ["g", "keys.ground", () => (ground.value = GROUNDS[(GROUNDS.indexOf(ground.value) + 1) % GROUNDS.length])],
  ["+", "keys.in", () => zoomBy(1.25)],
  ["-", "keys.out", () => zoomBy(0.8)],
  ["0", "keys.fit", zoomFit],
  ["1", "keys.pixels", () => zoomTo(1)],
  ["ArrowLeft", "keys.pan", () => pan(40, 0)],
  ["ArrowRight", "keys.pan", () => pan(-40, 0)],
  ["ArrowUp", "keys.pan", () => pan(0, 40)],
  ["ArrowDown", "keys.pan", () => pan(0, -40)],
  ["d", "keys.download", () => download(current.value)],
  ["z", "keys.zip", downloadAll],
  ["c", "keys.copy", () => copy(current.value)],
  ["s", "keys.call", showCall],
  ["l", "keys.library", showLibrary],
  ["t", "keys.tasks", showTasks],
  ["?", "keys.help", showKeys],
];
const SIGNS = { "-": "−", ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓" };

// Keys of a field belong to the field; with Ctrl, Alt or Meta they are the browser's.
function isForPage(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return false;
  const field = event.target.closest("input, select, textarea, [contenteditable]");
  return !field || (["radio", "checkbox"].includes(field.type) && !event.key.startsWith("Arrow"));
}

// While mending: back and forth as everywhere, and Escape ends it.
function mends(event) {
  if (document.querySelector("dialog[open]") || event.target.closest("input[type=number], input[type=text], input[type=url], textarea")) return false;
  const key = event.key.toLowerCase();
  if (key === "escape") mending.value = null;
  else if (!(event.ctrlKey || event.metaKey) || !["z", "y"].includes(key)) return false;
  else if (key === "y" || event.shiftKey) redo();
  else undo();
  return true;
}

export function useKeys() {
  useEffect(() => {
    const find = (event) => ACTIONS.find(([key]) => key === event.key || key === event.key.toLowerCase());
    const down = (event) => {
      if (mending.value && mends(event)) return event.preventDefault();
      const action = isForPage(event) && find(event);
      if (!action) return;
      event.preventDefault();
      action[2]();
    };
    const up = (event) => find(event)?.[3]?.();
    window.addEventListener("keydown", down);
    window.addEventListener("keyup", up);
    return () => (window.removeEventListener("keydown", down), window.removeEventListener("keyup", up));
  }, []);
}

export function Keys() {
  if (!sheet.value) return null;
  const rows = new Map();
  for (const [key, text] of ACTIONS) rows.set(text, [...(rows.get(text) ?? []), SIGNS[key] ?? (key.length === 1 ? key.toUpperCase() : key)]);
  return html`<${Dialog} title=${t("keys")} onClose=${() => (sheet.value = false)}>
    <dl class="keys">${[...rows].map(([text, keys]) => html`<div><dt>${keys.map((each) => html`<kbd>${each}</kbd>`)}</dt><dd>${t(text)}</dd></div>`)}
      ${[["V", "keys.paste"], ["Z", "keys.undo"], ["⇧ Z", "keys.redo"]].map(([key, text]) => html`<div><dt><kbd>Ctrl</kbd><kbd>${key}</kbd></dt><dd>${t(text)}</dd></div>`)}</dl><//>`;
}
