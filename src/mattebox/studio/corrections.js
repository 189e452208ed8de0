// What a person corrects in the matte of one picture: marks in their order, of which the last can be taken back.
// They are vectors in shares of the photo's sides; the engine draws them at its full size.
import { computed, signal } from "./view.js";
import { current, find, notice, update } from "./queue.js";
import { corrections, mending } from "./recipe.js";
import { t } from "./words.js";

export const TOOLS = ["keep", "erase", "this", "other", "box"];
export const tool = signal("keep");
export const brush = signal({ size: 0.06, hardness: 0.8 }); // its diameter is a share of the photo's longer side
export const LEAST = 0.005;
export const MOST = 0.4;

export const paints = () => ["keep", "erase"].includes(tool.value);
export const resize = (factor) => (brush.value = { ...brush.value, size: Math.min(Math.max(brush.value.size * factor, LEAST), MOST) });

export const marks = computed(() => current.value?.marks ?? []);
export const undone = computed(() => current.value?.undone ?? []);

const ROOM = { strokes: 500, dots: 20_000, points: 64 }; // as much as the engine takes

export function mark(made) {
  const picture = find(mending.value);
  if (!picture) return;
  const { strokes = [], points = [] } = corrections({ marks: [...(picture.marks ?? []), made] }) ?? {};
  const dots = strokes.reduce((sum, each) => sum + each.points.length, 0);
  if (strokes.length > ROOM.strokes || dots > ROOM.dots || points.length > ROOM.points) notice.value = t("mend.full");
  else update(picture.id, { marks: [...(picture.marks ?? []), made], undone: [] });
}

function shift(from, to) {
  const picture = find(mending.value);
  const last = picture?.[from]?.at(-1);
  if (last) update(picture.id, { [from]: picture[from].slice(0, -1), [to]: [...(picture[to] ?? []), last] });
}

export const undo = () => shift("marks", "undone");
export const redo = () => shift("undone", "marks");
export const clearAll = () => marks.value.length && !marks.value.at(-1).clear && mark({ clear: true });

export function toggle() {
  mending.value = mending.value || !current.value ? null : current.value.id;
}
