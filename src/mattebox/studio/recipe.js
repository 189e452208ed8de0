// What is done to every picture, and the call of the API that does it. The only place that knows the options' names.
import { computed, signal } from "./view.js";
import * as store from "./store.js";

export const PLAIN = {
  model: "auto",
  behind: "none", // color, gradient, blur, picture, words
  color: "#ffffff",
  start: "#ffffff",
  end: "#c0c8d0",
  angle: 180,
  blur: 12,
  words: "",
  shadow: "none",
  opacity: 50,
  crop: false,
  margin: 10,
  ratio: "",
  width: "",
  height: "",
  scale: "",
  format: "png",
  quality: 90,
  preset: "",
};

const kept = () => ({ ...PLAIN, ...JSON.parse(localStorage.getItem("recipe") ?? "{}") });
export const recipe = signal(kept());
export const behindFile = signal(null); // the picture that goes behind the subject

// Put a picture behind the subject.
export async function behind(file) {
  await store.putFile("recipe", "behind", file);
  behindFile.value = file;
  change({ behind: "picture", preset: "" });
}

// As it was left by the last visit, or by another tab.
export async function reread() {
  const file = (await store.file("recipe", "behind")) ?? null;
  if (stamp(file) !== stamp(behindFile.value)) behindFile.value = file;
  recipe.value = kept();
}
window.addEventListener("storage", (event) => event.key === "recipe" && reread());

export function change(patch) {
  recipe.value = { ...recipe.value, ...patch };
  localStorage.setItem("recipe", JSON.stringify(recipe.value));
}

// The words of a scene need no shadow: the scene makes it. Without words or a picture there is nothing behind yet.
export const inWords = (made) => made.behind === "words" && made.words.trim() !== "";
const pictured = (made) => made.behind === "picture" && behindFile.value !== null;

export function options(made) {
  const found = {};
  if (made.model !== "auto") found.model = made.model;
  if (made.behind === "color") found.background = made.color;
  if (made.behind === "gradient") found.background_gradient = `${made.angle} ${made.start} ${made.end}`;
  if (made.behind === "blur") found.background_blur = made.blur;
  if (inWords(made)) found.prompt = made.words.trim();
  if (made.shadow !== "none" && !inWords(made)) {
    found.shadow = made.shadow;
    if (made.opacity !== 50) found.shadow_opacity = made.opacity / 100;
  }
  if (made.crop) {
    found.crop = "true";
    if (made.margin) found.margin = `${made.margin}%`;
    if (made.ratio && !made.width && !made.height) found.ratio = made.ratio;
  }
  if (made.width) found.width = made.width;
  if (made.height) found.height = made.height;
  if (made.scale && (made.width || made.height)) found.scale = `${made.scale}%`;
  found.format = made.format;
  if (hasQuality(made.format) && made.quality !== PLAIN.quality) found.quality = made.quality;
  return found;
}

export const hasQuality = (format) => format !== "png";
export const transparent = (made) =>
  made.format !== "jpeg" && !["color", "gradient", "blur"].includes(made.behind) && !inWords(made) && !pictured(made);

const callOf = (made) => ({
  path: inWords(made) ? "replace" : "remove",
  options: options(made),
  behind: pictured(made),
});
// Two results of the same call are the same picture.
const stamp = (file) => file && `${file.name} ${file.size} ${file.lastModified}`;
const signatureOf = (asked) => JSON.stringify([asked, asked.behind && stamp(behindFile.value)]);
export const signature = computed(() => signatureOf(callOf(recipe.value)));

// The picture whose matte is being mended. It is shown as it is cut out: as large as its photo, before nothing.
export const mending = signal(null);
const cutOut = computed(() => {
  const { model, format, quality } = recipe.value;
  return { ...PLAIN, model, format: format === "jpeg" ? "png" : format, quality };
});

// The marks of a picture as the API takes them, or null where there are none.
export function corrections({ marks = [] }) {
  const valid = marks.slice(marks.findLastIndex((each) => each.clear) + 1);
  const found = {};
  const of = (kind) => valid.filter((each) => kind in each).map((each) => each[kind]);
  if (of("stroke").length) found.strokes = of("stroke");
  if (of("point").length) found.points = of("point");
  if (of("box").length) found.box = of("box").at(-1);
  return Object.keys(found).length ? found : null;
}

// What is asked for one picture: the plan, the call that carries it out, and its signature.
export function order(picture, plan = mending.value === picture.id ? cutOut.value : recipe.value) {
  const marked = corrections(picture), mends = plan !== recipe.value;
  if (!marked && !mends) return { plan, mends, call: callOf(plan), signature: signature.value };
  const call = { ...callOf(plan), ...(marked && { corrections: marked }) };
  return { plan, mends, call, signature: signatureOf(call) };
}

// Whether the call leaves the photo's geometry as it is, so that before and after lie upon one another.
export const sameFrame = (made) => !made.crop && !made.width && !made.height;
