// What goes behind the subject, and the shadow.
import { html, signal, useEffect, useRef, useState } from "./view.js";
import * as api from "./api.js";
import { Choice, Slider, Well } from "./fields.js";
import { behind, behindFile, change, inWords, recipe } from "./recipe.js";
import { small } from "./thumbnails.js";
import { percent, t } from "./words.js";

const COLORS = ["#ffffff", "#f4f4f2", "#d9dde3", "#111318", "#e9dccb", "#f6d5d8", "#cfe3d6", "#cfe0f2"];

function Color() {
  return html`<div class="swatches" role="group" aria-label=${t("behind.color")}>
    ${COLORS.map((each) => html`<button class="swatch" style=${{ background: each }} aria-label=${each} title=${each} aria-pressed=${recipe.value.color === each} onClick=${() => change({ color: each, preset: "" })}></button>`)}
    <${Well} label=${t("color.own")} name="color" /></div>`;
}

function Gradient() {
  return html`<div class="swatches" role="group" aria-label=${t("behind.gradient")}>
      <${Well} label=${t("gradient.start")} name="start" /><${Well} label=${t("gradient.end")} name="end" /></div>
    <${Slider} label=${t("gradient.angle")} name="angle" least="0" most="360" step="5" unit="°" />`;
}

function Picture() {
  const [thumb, setThumb] = useState("");
  const file = behindFile.value;
  useEffect(() => {
    let url = "";
    if (file) small(file).then((made) => made && setThumb((url = URL.createObjectURL(made))));
    return () => url && URL.revokeObjectURL(url);
  }, [file]);
  const taken = (event) => {
    const [chosen] = event.target.files;
    if (chosen) behind(chosen);
  };
  return html`<label class="upload">${thumb && file ? html`<img src=${thumb} alt="" />` : ""}<span>${file ? file.name : t("behind.choose")}</span>
    <input type="file" accept="image/*" aria-label=${t("behind.choose")} onChange=${taken} /></label>`;
}

const thumbs = signal({}); // addresses of the scenes' small pictures; there are some dozens, and they stay
let order = []; // of the scenes as they are shown now: those that are seen first are fetched first
let drawing = false;

async function draw(scenes) {
  order = scenes;
  if (drawing) return;
  drawing = true;
  for (;;) {
    const next = order.find((each) => !(each.name in thumbs.value));
    if (!next) break;
    let url = "";
    try {
      url = URL.createObjectURL(await api.thumbnail(next.name));
    } catch (error) {
      if (!(error instanceof api.Problem)) throw error; // without a picture the scene still has its name
    }
    thumbs.value = { ...thumbs.value, [next.name]: url };
  }
  drawing = false;
}

function Scene({ scene }) {
  const chosen = recipe.value.words.trim().toLowerCase() === scene.prompt;
  return html`<button class="scene" aria-pressed=${chosen} onClick=${() => change({ words: scene.prompt })} data-name=${scene.name}>
    ${thumbs.value[scene.name] ? html`<img src=${thumbs.value[scene.name]} alt="" width="120" height="80" />` : html`<span class="blank"></span>`}
    <span>${scene.prompt}</span>${scene.score > 0 && html`<b>${percent(scene.score)}</b>`}</button>`;
}

function Words() {
  const [scenes, setScenes] = useState([]);
  const [why, setWhy] = useState("");
  const words = recipe.value.words;
  const first = useRef(true);
  useEffect(() => {
    const control = new AbortController();
    const ask = async () => {
      try {
        const found = await api.scenes(words.trim(), control.signal);
        setScenes(found);
        setWhy(found.length ? "" : t("scenes.none"));
        draw(found);
      } catch (error) {
        if (error.name !== "AbortError") setWhy(error.message);
      }
    };
    const timer = setTimeout(ask, first.current ? 0 : 250); // while somebody is writing
    first.current = false;
    return () => (clearTimeout(timer), control.abort());
  }, [words]);
  return html`<label class="field wide"><span>${t("words")}</span>
      <input type="text" maxlength="2000" placeholder=${t("words.example")} value=${words} onInput=${(event) => change({ words: event.target.value })} /></label>
    ${why && html`<p class="hint">${why}</p>`}
    <div class="scenes" role="group" aria-label=${t("scenes")}>${scenes.map((each) => html`<${Scene} key=${each.name} scene=${each} />`)}</div>`;
}

const KINDS = { color: Color, gradient: Gradient, picture: Picture, words: Words };

export function Place() {
  const { behind: kind, shadow } = recipe.value;
  const Kind = KINDS[kind];
  const lit = inWords(recipe.value);
  return html`<section class="panel" aria-labelledby="place"><h2 id="place">${t("background")}</h2>
    <${Choice} label=${t("behind")} name="behind" values=${["none", "color", "gradient", "blur", "picture", "words"]} names=${(each) => t(`behind.${each}`)} />
    ${Kind && html`<${Kind} />`}
    ${kind === "blur" && html`<${Slider} label=${t("blur")} name="blur" least="1" most="60" unit=" px" />`}
    ${lit
      ? html`<p class="hint">${t("shadow.scene")}</p>`
      : html`<${Choice} label=${t("shadow")} name="shadow" values=${["none", "drop", "cast", "ground"]} names=${(each) => t(`shadow.${each}`)} />
        ${shadow !== "none" && html`<${Slider} label=${t("shadow.opacity")} name="opacity" least="5" most="100" step="5" unit="%" />`}`}
  </section>`;
}
