// The words of the page in the reader's language: text/NAME.json, the same keys in each.
import { get } from "./api.js";
import { signal } from "./view.js";

export const LANGUAGES = { en: "English", de: "Deutsch", zh: "中文" };
export const language = signal("en");
const words = signal({});

function preferred() {
  const wanted = [localStorage.getItem("language"), ...navigator.languages].filter(Boolean);
  return wanted.map((each) => each.slice(0, 2).toLowerCase()).find((each) => each in LANGUAGES) ?? "en";
}

async function read(name) {
  return (await get(`studio/text/${name}.json`)).json();
}

export async function speak(name = preferred()) {
  const found = await read(name);
  words.value = found;
  language.value = name;
  document.documentElement.lang = name;
}

export async function choose(name) {
  await speak(name);
  localStorage.setItem("language", name);
}

// The text of a key, with its {names} filled in.
export function t(key, values = {}) {
  const text = words.value[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

export const has = (key) => key in words.value;

export function bytes(count) {
  const unit = count < 1e6 ? ["kB", 1e3] : count < 1e9 ? ["MB", 1e6] : ["GB", 1e9];
  const digits = count >= 1e5 && count < 1e6 ? 0 : 1;
  return `${(count / unit[1]).toLocaleString(language.value, { maximumFractionDigits: digits })} ${unit[0]}`;
}

export const number = (count) => count.toLocaleString(language.value);
export const percent = (share, digits = 0) => share.toLocaleString(language.value, { style: "percent", maximumFractionDigits: digits });
export const seconds = (ms) => `${(ms / 1000).toLocaleString(language.value, { maximumFractionDigits: 1 })} s`;
