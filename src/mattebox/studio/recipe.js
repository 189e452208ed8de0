// What is done to every picture, and the call of the API that does it. The only place that knows the options' names.
import { computed, signal } from "./view.js";

export const PLAIN = {
  model: "auto",
  behind: "none", // color, blur, picture, words
  color: "#ffffff",
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

const kept = JSON.parse(localStorage.getItem("recipe") ?? "{}");
export const recipe = signal({ ...PLAIN, ...kept, behind: kept.behind === "picture" ? "none" : (kept.behind ?? "none") });
export const behindFile = signal(null); // the picture that goes behind the subject

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
  made.format !== "jpeg" && !["color", "blur"].includes(made.behind) && !inWords(made) && !pictured(made);

export const call = computed(() => ({
  path: inWords(recipe.value) ? "replace" : "remove",
  options: options(recipe.value),
  behind: pictured(recipe.value),
}));
// Two results of the same call are the same picture.
export const signature = computed(() => JSON.stringify([call.value, pictured(recipe.value) && behindFile.value.stamp]));

// Whether the call leaves the photo's geometry as it is, so that before and after lie upon one another.
export const sameFrame = (made) => !made.crop && !made.width && !made.height;
