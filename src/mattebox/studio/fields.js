// The fields of the panels.
import { html } from "./view.js";
import { change, recipe } from "./recipe.js";
import { percent } from "./words.js";

export function Choice({ label, name, values, names, hint }) {
  return html`<fieldset class="choice"><legend>${label}</legend>
    <div class="segments">${values.map((each) => html`<label>
      <input type="radio" name=${name} value=${each} checked=${recipe.value[name] === each} onChange=${() => change({ [name]: each, preset: "" })} />
      <span>${names(each)}</span></label>`)}</div>
    ${hint && html`<p class="hint">${hint}</p>`}</fieldset>`;
}

export function Slider({ label, name, least, most, step = 1, unit = "" }) {
  const value = recipe.value[name] === "" ? most : recipe.value[name];
  return html`<label class="field"><span>${label}</span><b>${unit === "%" ? percent(value / 100) : `${value}${unit}`}</b>
    <input type="range" min=${least} max=${most} step=${step} value=${value} onInput=${(event) => change({ [name]: Number(event.target.value), preset: "" })} /></label>`;
}

export function Well({ label, name }) {
  return html`<input type="color" class="well" aria-label=${label} title=${label} value=${recipe.value[name]} onInput=${(event) => change({ [name]: event.target.value, preset: "" })} />`;
}

export function Pixels({ label, name }) {
  return html`<label class="field"><span>${label}</span>
    <input type="number" min="1" max="32767" inputmode="numeric" placeholder="–" value=${recipe.value[name]}
      onChange=${(event) => change({ [name]: event.target.valueAsNumber > 0 ? Math.round(event.target.valueAsNumber) : "", preset: "" })} /></label>`;
}

export function Switch({ label, name }) {
  return html`<label class="switch"><input type="checkbox" role="switch" checked=${recipe.value[name]} onChange=${(event) => change({ [name]: event.target.checked, preset: "" })} /><span>${label}</span></label>`;
}

export function Select({ label, value, onChange, children }) {
  return html`<label class="field"><span>${label}</span><select value=${value} onChange=${(event) => onChange(event.target.value)}>${children}</select></label>`;
}
