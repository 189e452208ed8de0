// Zoom and pan of the viewer: wheel, pinch, drag and keys. A view is { x, y, z }: where the picture's corner is on the
// stage, and how many CSS pixels one of its pixels has.
const MOST = 32;
const LEAST = 0.02;

export const pixelsAt = (z) => z * window.devicePixelRatio; // 1 is one pixel of the screen for one of the picture

export function fit(stage, picture, room = 24) {
  const z = Math.min((stage.width - 2 * room) / picture.width, (stage.height - 2 * room) / picture.height, 4 / window.devicePixelRatio);
  return centred(stage, picture, Math.max(z, LEAST));
}

const centred = (stage, picture, z) => ({ x: (stage.width - picture.width * z) / 2, y: (stage.height - picture.height * z) / 2, z });

// Zoom by a factor so that the point under the pointer stays where it is.
export function zoom(view, factor, at) {
  const z = Math.min(Math.max(view.z * factor, LEAST), MOST);
  const by = z / view.z;
  return { x: at.x - (at.x - view.x) * by, y: at.y - (at.y - view.y) * by, z };
}

export const move = (view, dx, dy) => ({ ...view, x: view.x + dx, y: view.y + dy });

// One pointer draws where there is something to draw with: `pen()` gives what begins, goes on, ends and is dropped. Two
// fingers, the wheel and the middle button move the picture all the same.
export function listen(stage, getView, setView, pen = () => null) {
  const pointers = new Map();
  let drawing = null;
  const place = (event) => {
    const box = stage.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };
  const wheel = (event) => {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 24 : 1;
    setView(zoom(getView(), Math.exp((-event.deltaY * lines) / (event.ctrlKey ? 120 : 480)), place(event)));
  };
  const down = (event) => {
    if (event.target.closest("button, input") || event.button > 1) return;
    stage.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, place(event));
    if (drawing !== null) {
      pen()?.drop();
      drawing = null;
    } else if (pen() && pointers.size === 1 && event.button === 0) {
      drawing = event.pointerId;
      return pen().begin(place(event));
    }
    stage.dataset.moving = "";
  };
  const moved = (event) => {
    if (event.pointerId === drawing) {
      const every = event.getCoalescedEvents?.() ?? [];
      return pen()?.move((every.length ? every : [event]).map(place));
    }
    if (event.pointerType === "mouse") pen()?.hover(place(event));
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const now = place(event);
    const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
    if (other) {
      const span = (one) => Math.hypot(one.x - other.x, one.y - other.y) || 1;
      setView(zoom(getView(), span(now) / span(before), { x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 }));
    } else setView(move(getView(), now.x - before.x, now.y - before.y));
    pointers.set(event.pointerId, now);
  };
  const up = (event) => {
    pointers.delete(event.pointerId);
    if (event.pointerId === drawing) {
      drawing = null;
      if (event.type === "pointerup") pen()?.end();
      else pen()?.drop();
    }
    if (!pointers.size) delete stage.dataset.moving;
  };
  stage.addEventListener("wheel", wheel, { passive: false });
  const rest = { pointerdown: down, pointermove: moved, pointerup: up, pointercancel: up };
  for (const [name, listener] of Object.entries(rest)) stage.addEventListener(name, listener);
  return () => {
    stage.removeEventListener("wheel", wheel);
    for (const [name, listener] of Object.entries(rest)) stage.removeEventListener(name, listener);
  };
}
