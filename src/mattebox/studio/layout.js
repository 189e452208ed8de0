// Crop, margin, canvas and the sizes that shops ask for.
import { html } from "./view.js";
import { address } from "./api.js";
import { Choice, Pixels, Select, Slider, Switch } from "./fields.js";
import { change, PLAIN, recipe } from "./recipe.js";
import { language, t } from "./words.js";

const PRESETS = await (await fetch(address("studio/presets.json"))).json();
const LAYOUT = ["crop", "margin", "ratio", "width", "height", "scale"];
const RATIOS = ["", "1:1", "4:3", "3:4", "16:9", "9:16"];

export function Layout() {
  const made = recipe.value;
  const name = (preset) => preset.name[language.value] ?? preset.name.en ?? preset.name;
  const choose = (id) => {
    const plain = Object.fromEntries(LAYOUT.map((each) => [each, PLAIN[each]]));
    const preset = PRESETS.find((each) => each.id === id);
    change({ ...plain, ...preset?.recipe, preset: id });
  };
  const canvas = made.width || made.height;
  return html`<section class="panel" aria-labelledby="layout"><h2 id="layout">${t("layout")}</h2>
    <${Select} label=${t("preset")} value=${made.preset} onChange=${choose}>
      <option value="">${t("preset.none")}</option>${PRESETS.map((each) => html`<option value=${each.id}>${name(each)}</option>`)}<//>
    <${Switch} label=${t("crop")} name="crop" />
    ${made.crop && html`<${Slider} label=${t("margin")} name="margin" least="0" most="60" unit="%" />`}
    ${made.crop && !canvas && html`<${Choice} label=${t("ratio")} name="ratio" values=${RATIOS} names=${(each) => each || t("ratio.free")} />`}
    <div class="pair"><${Pixels} label=${t("width")} name="width" /><${Pixels} label=${t("height")} name="height" /></div>
    ${canvas && html`<${Slider} label=${t("scale")} name="scale" least="10" most="100" unit="%" />`}
  </section>`;
}
