// The call that makes the same result elsewhere: over HTTP, in Python, on the command line; all from the one recipe.
import { html, signal, useEffect, useState } from "./view.js";
import { address, key } from "./api.js";
import { Dialog } from "./dialog.js";
import { order, recipe } from "./recipe.js";
import { current } from "./queue.js";
import { t } from "./words.js";

const shown = signal(false);
export const showCall = () => (shown.value = true);

const shell = (text) => (/^[\w.,:/@%+=-]+$/.test(text) ? text : `'${String(text).replaceAll("'", `'\\''`)}'`);
const python = (value) => JSON.stringify(String(value));

function curl({ path, options, behind, corrections }, names) {
  const lines = [`curl ${shell(address(`api/v1/${path}`).href)}`, `-F ${shell(`image=@${names.photo}`)}`];
  if (behind) lines.push("-F background_image=@background.jpg");
  if (corrections) lines.push("-F 'corrections=<corrections.json'");
  for (const [name, value] of Object.entries(options)) lines.push(`--form-string ${shell(`${name}=${value}`)}`);
  if (key.value) lines.push('-H "Authorization: Bearer $MATTEBOX_KEY"');
  return [...lines, `-o ${shell(names.result)}`].join(" \\\n  ");
}

function command({ path, options, behind, corrections }, names) {
  const words = [];
  for (const [name, value] of Object.entries(options)) {
    const flag = `--${name.replaceAll("_", "-")}`;
    words.push(value === "true" ? flag : `${flag} ${shell(String(value))}`);
  }
  if (corrections) words.push("--corrections corrections.json");
  if (behind) words.push("--image background.jpg");
  const verb = behind ? "replace" : path;
  return [`mattebox ${verb} ${shell(names.photo)} -o ${shell(names.result)}`, ...words].join(" \\\n  ");
}

function library({ path, options, behind, corrections }, names) {
  const model = path === "replace" ? "ReplaceOptions" : "EditOptions";
  const rows = Object.entries(options).map(([name, value]) => `    ${python(name)}: ${python(value)},`);
  return [
    ...(behind ? ["from dataclasses import replace"] : []),
    "from pathlib import Path",
    "",
    "import mattebox",
    "from mattebox import options",
    "from mattebox.backdrops import Backdrops",
    "from mattebox.models import Models",
    "",
    "wanted = {",
    ...rows,
    ...(corrections ? ['    "corrections": Path("corrections.json").read_text(),'] : []),
    "}",
    `given = options.${model}.read(wanted)`,
    "edit = given.to_edit(format=mattebox.Format.PNG)",
    `photo = Path(${python(names.photo)}).read_bytes()`,
    ...(behind ? ["edit = replace(edit, backdrop=mattebox.Picture())", 'picture = Path("background.jpg").read_bytes()'] : []),
    "engine = mattebox.Engine(Models(), Backdrops())",
    `made = engine.run_file(edit, photo${behind ? ", backdrop=picture" : ""})`,
    `Path(${python(names.result)}).write_bytes(made.data)`,
  ].join("\n");
}

const WAYS = { curl, python: library, command };

function result(photo) {
  const ending = recipe.value.format === "jpeg" ? "jpg" : recipe.value.format;
  return `${photo.replace(/\.[^.]*$/, "")}-cutout.${ending}`;
}

export function Call() {
  const [way, setWay] = useState("curl");
  const [copied, setCopied] = useState(false);
  useEffect(() => setCopied(false), [way, shown.value]);
  if (!shown.value) return null;
  const photo = current.value?.name ?? "photo.jpg";
  const { call } = order(current.value ?? {}, recipe.value);
  const text = WAYS[way](call, { photo, result: result(photo) });
  const copy = () => navigator.clipboard?.writeText(text).then(() => setCopied(true));
  return html`<${Dialog} title=${t("call.title")} onClose=${() => (shown.value = false)}>
    <p>${t("call.about")}</p>
    <div class="segments" role="group">${Object.keys(WAYS).map((each) => html`<label><input type="radio" name="way" checked=${way === each} onChange=${() => setWay(each)} /><span>${t(`call.${each}`)}</span></label>`)}</div>
    <pre tabindex="0" aria-label=${t(`call.${way}`)}>${text}</pre>
    ${call.corrections && html`<p>${t("call.corrections")}</p><pre class="file" tabindex="0" aria-label="corrections.json">${JSON.stringify(call.corrections, null, 1)}</pre>`}
    <button class="button" onClick=${copy} disabled=${!navigator.clipboard}>${copied ? t("copied.text") : t("copy")}</button>
  <//>`;
}
