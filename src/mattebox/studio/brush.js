// Mending on the stage: the original ghosted, the result with the strokes that are not in it yet, the brush, the marks.
import { html, signal, useEffect, useLayoutEffect, useRef, useState } from "./view.js";
import { brush, mark, marks, paints, tool } from "./corrections.js";
import { corrections, mending } from "./recipe.js";
import { t } from "./words.js";

const SIDE = 1600; // of the preview's longer side, in pixels; the result itself has all of them
const RINGS = 8; // of a soft brush's edge

const cursor = signal(null); // where the brush is, in shares of the photo's sides
const live = signal(null); // the mark that is being made
let shown = null; // the photo that is on the stage, and how it lies there

const rounded = (share) => Math.round(share * 1e4) / 1e4;
const inside = (share) => Math.min(Math.max(rounded(share), 0), 1);
const at = ({ x, y }) => [(x - shown.view.x) / (shown.view.z * shown.width), (y - shown.view.y) / (shown.view.z * shown.height)];
const onScreen = ([x, y]) => [x * shown.width * shown.view.z, y * shown.height * shown.view.z];
const isOn = (place) => place.every((share) => share >= 0 && share <= 1);

function begin(place) {
  cursor.value = place;
  const [x, y] = place.map(inside);
  const { size, hardness } = brush.value;
  if (paints()) live.value = { stroke: { keep: tool.value === "keep", size: rounded(size), hardness, points: [[x, y]] }, met: isOn(place) };
  else if (tool.value === "box") live.value = { from: [x, y], box: [x, y, x, y] };
  else live.value = { point: { x, y, keep: tool.value === "this" }, met: isOn(place) };
}

function go(places) {
  cursor.value = places.at(-1);
  const points = places.map((each) => each.map(inside));
  const { stroke, from, met } = live.value ?? {};
  if (stroke) live.value = { stroke: { ...stroke, points: [...stroke.points, ...points] }, met: met || places.some(isOn) };
  else if (from) {
    const [x, y] = points.at(-1), [left, top] = from;
    live.value = { from, box: [Math.min(left, x), Math.min(top, y), Math.max(left, x), Math.max(top, y)] };
  }
}

// The points that change a line by half a pixel of the screen or more (Douglas and Peucker).
function simple(points) {
  if (points.length < 3) return points;
  const places = points.map(onScreen);
  const [[x0, y0], [x1, y1]] = [places[0], places.at(-1)];
  const length = Math.hypot(x1 - x0, y1 - y0);
  const off = ([x, y]) => (length ? Math.abs((x1 - x0) * (y - y0) - (y1 - y0) * (x - x0)) / length : Math.hypot(x - x0, y - y0));
  let furthest = 0, at = 0;
  for (let each = 1; each < places.length - 1; each += 1) {
    const beyond = length && Math.max(Math.hypot(places[each][0] - x0, places[each][1] - y0), Math.hypot(places[each][0] - x1, places[each][1] - y1)) - length;
    const by = Math.max(off(places[each]), beyond);
    if (by > furthest) [furthest, at] = [by, each];
  }
  if (furthest < 0.5) return [points[0], points.at(-1)];
  return [...simple(points.slice(0, at + 1)), ...simple(points.slice(at)).slice(1)];
}

// What never touched the photo is nothing.
function end() {
  const { stroke, point, box, met } = live.value ?? {};
  live.value = null;
  if (stroke && met) mark({ stroke: { ...stroke, points: simple(stroke.points) } });
  else if (point && met) mark({ point });
  else if (box && box[2] > box[0] && box[3] > box[1]) mark({ box });
}

const PEN = {
  begin: (place) => begin(at(place)),
  move: (places) => go(places.map(at)),
  hover: (place) => (cursor.value = at(place)),
  end,
  drop: () => (live.value = null),
};
export const pen = () => (mending.value && shown ? PEN : null);

// The arrows move the brush, Enter or the space bar sets it down and takes it up.
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
export function byKey(event) {
  if (event.target !== event.currentTarget || event.shiftKey || event.ctrlKey || event.metaKey || event.altKey) return;
  const arrow = ARROWS[event.key], [x, y] = cursor.value ?? [0.5, 0.5];
  const step = paints() ? brush.value.size / 3 : 0.02;
  const longer = Math.max(shown.width, shown.height);
  if (arrow) go([[inside(x + (arrow[0] * step * longer) / shown.width), inside(y + (arrow[1] * step * longer) / shown.height)]]);
  else if (event.key !== "Enter" && event.key !== " ") return;
  else if (live.value) end();
  else {
    begin([x, y]);
    if (live.value.point) end();
  }
  event.preventDefault();
  event.stopPropagation();
}

// A stroke as the engine draws it: full within its hardness, and from there down to nothing at its edge.
function paint(context, { points, size, hardness }, { width, height }) {
  const diameter = size * Math.max(width, height);
  context.lineCap = context.lineJoin = "round";
  context.beginPath();
  const [first, ...rest] = points;
  context.moveTo(first[0] * width, first[1] * height);
  if (!rest.length) rest.push(first);
  for (const [x, y] of rest) context.lineTo(x * width, y * height);
  let before = 0;
  for (let ring = 1; ring <= RINGS; ring += 1) {
    const share = ring / RINGS, full = share * share * (3 - 2 * share);
    context.lineWidth = Math.max(diameter * (1 - (1 - hardness) * share), 0.5);
    context.globalAlpha = (full - before) / (1 - before);
    context.stroke();
    before = full;
  }
  context.globalAlpha = 1;
}

const blank = (width, height) => Object.assign(document.createElement("canvas"), { width, height });

function apply(context, stroke, original) {
  const { canvas } = context;
  if (!stroke.keep) {
    context.globalCompositeOperation = "destination-out";
    paint(context, stroke, canvas);
  } else {
    const kept = blank(canvas.width, canvas.height).getContext("2d");
    paint(kept, stroke, canvas);
    kept.globalCompositeOperation = "source-in";
    kept.drawImage(original, 0, 0, canvas.width, canvas.height);
    context.drawImage(kept.canvas, 0, 0);
  }
  context.globalCompositeOperation = "source-over";
}

// The strokes that the result does not have yet; none where others were taken back, until it is made anew.
function waiting(picture) {
  const now = corrections(picture)?.strokes ?? [], made = picture.strokes ?? [];
  const same = made.every((each, at) => JSON.stringify(each) === JSON.stringify(now[at]));
  return same ? now.slice(made.length) : [];
}

function usePicture(url) {
  const [found, setFound] = useState(null);
  useEffect(() => {
    let over = false;
    const picture = new Image();
    picture.src = url ?? "";
    if (url) picture.decode().then(() => over || setFound(picture), () => {}); // it was replaced by the next one
    return () => ((over = true), setFound(null));
  }, [url]);
  return found;
}

function Preview({ files, picture }) {
  const canvas = useRef(), base = useRef();
  const result = usePicture(picture.info?.plain ? files.result?.url : null);
  const original = usePicture(files.original.url);
  const left = waiting(picture);
  const scale = Math.min(1, SIDE / Math.max(files.original.width, files.original.height));
  const width = Math.round(files.original.width * scale), height = Math.round(files.original.height * scale);
  useLayoutEffect(() => {
    const context = (base.current = blank(width, height)).getContext("2d");
    if (result) context.drawImage(result, 0, 0, width, height);
    if (original) for (const each of left) apply(context, each, original);
  }, [result, original, picture.marks, picture.strokes, width, height]);
  const stroke = live.value?.stroke;
  useLayoutEffect(() => {
    const context = canvas.current.getContext("2d");
    context.clearRect(0, 0, width, height);
    context.drawImage(base.current, 0, 0);
    if (stroke && original) apply(context, stroke, original);
  });
  const drawn = left.length || stroke || !result;
  return html`<canvas ref=${canvas} width=${width} height=${height} hidden=${!drawn}></canvas>
    <img src=${picture.info?.plain ? files.result?.url : undefined} alt=${t("alt.result", { name: picture.name })} draggable=${false} hidden=${drawn} />`;
}

function Marks({ view, width, height }) {
  const made = corrections({ marks: [...marks.value, ...(live.value ? [live.value] : [])] }) ?? {};
  const box = made.box;
  const put = ([x, y]) => ({ left: `${view.x + x * width * view.z}px`, top: `${view.y + y * height * view.z}px` });
  const wide = brush.value.size * Math.max(width, height) * view.z;
  return html`<div class="marks" aria-hidden="true">
    ${box && html`<i class="box" style=${{ ...put(box), width: `${(box[2] - box[0]) * width * view.z}px`, height: `${(box[3] - box[1]) * height * view.z}px` }}></i>`}
    ${made.points?.map(({ x, y, keep }) => html`<i class="point" data-keep=${keep} style=${put([x, y])}>${keep ? "+" : "−"}</i>`)}
    ${cursor.value && paints() && html`<i class="cursor" data-keep=${tool.value === "keep"} style=${{ ...put(cursor.value), width: `${wide}px`, height: `${wide}px` }}></i>`}
  </div>`;
}

export function Brush({ files, picture, view, ground, own, held }) {
  const { url, width, height } = files.original;
  shown = { view, width, height };
  useEffect(() => () => ((shown = null), (live.value = null), (cursor.value = null)), []);
  const style = { width: `${width}px`, height: `${height}px`, transform: `translate(${view.x}px, ${view.y}px) scale(${view.z})` };
  return html`<div class="picture mends" style=${style}>
      <div class="after" data-ground=${ground} style=${{ "--own": own, "--check": `${16 / view.z}px` }}>
        ${ground !== "alpha" && html`<img class="ghost" src=${url} alt="" draggable=${false} style=${{ opacity: held ? 1 : undefined }} />`}
        <div class="cut" data-held=${held ? "" : undefined} data-alpha=${ground === "alpha" ? "" : undefined}><${Preview} files=${files} picture=${picture} /></div>
      </div></div>
    <${Marks} view=${view} width=${width} height=${height} />`;
}
