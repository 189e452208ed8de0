// The view layer: Preact, written with htm instead of JSX, and state in signals.
import { h, render } from "preact";
import htm from "htm";

export { render };
export { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
export { batch, computed, effect, signal, untracked } from "@preact/signals";
export const html = htm.bind(h);

// One line icons on a grid of 24; decoration only, the name of a button is its text or its label.
const PATHS = {
  add: "M12 5v14M5 12h14",
  download: "M12 4v11m0 0 4-4m-4 4-4-4M5 20h14",
  archive: "M4 5h16v4H4zM6 9v10h12V9M10 13h4",
  copy: "M9 9h10v10H9zM5 15V5h10",
  code: "m8 8-4 4 4 4m8-8 4 4-4 4M14 5l-4 14",
  eye: "M2.500 12S6 5.500 12 5.500 21.500 12 21.500 12 18 18.500 12 18.500 2.500 12 2.500 12zM12 9.200a2.800 2.800 0 1 0 0 5.600 2.800 2.800 0 0 0 0-5.600z",
  key: "M14.500 9.500 21 3m-3 3 2 2M10 9a5 5 0 1 0 0 10 5 5 0 0 0 0-10z",
  more: "m7 10 5 5 5-5",
  help: "M9.200 9a2.900 2.900 0 1 1 4.200 2.600c-.9.500-1.400 1-1.400 2.200M12 17.300v.2M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18z",
  theme: "M12 3a9 9 0 1 0 0 18zM12 3a9 9 0 0 1 0 18",
  close: "M6 6l12 12M18 6 6 18",
  retry: "M20 5v5h-5M19.500 10A8 8 0 1 0 20 14",
  brush: "M20 4 10 14m-1.500 1.500c-2-1-4 .5-4 3 0 1-.8 1.700-1.500 2 3 .8 6.500-.2 6.500-3 0-.8-.4-1.500-1-2z",
  undo: "M9 6 4.500 10.500 9 15M5 10.500h9a5 5 0 0 1 0 10h-3",
  redo: "m15 6 4.500 4.500L15 15M19 10.500h-9a5 5 0 0 0 0 10h3",
  tasks: "M9 6h11M9 12h11M9 18h11M4 6h.500M4 12h.500M4 18h.500",
  library: "M6 4h12v16l-6-4-6 4z",
  picture: "M4 5h16v14H4zM4 16l4.500-4.500 4 4 3-3L20 17M15.500 9.500v.1",
};

export function Icon({ name }) {
  return html`<svg class="icon" viewBox="0 0 24 24" aria-hidden="true"><path d=${PATHS[name]} /></svg>`;
}
