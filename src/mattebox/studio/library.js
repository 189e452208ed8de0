// The images that are kept at the server: to be seen, put behind a subject, taken into the list, deleted.
import { html, signal, useEffect, useState, Icon } from "./view.js";
import * as api from "./api.js";
import { Dialog } from "./dialog.js";
import { named } from "./outgoing.js";
import { add, current, sentence } from "./queue.js";
import { behind, mending } from "./recipe.js";
import * as store from "./store.js";
import { small } from "./thumbnails.js";
import { bytes, number, t } from "./words.js";

const PAGE = 24;
const LONGEST_NAME = 30;
const shown = signal(false);
export const showLibrary = () => (shown.value = true);

// Small pictures of what is seen, drawn one after the other; they go with the dialog.
function useThumbs(images) {
  const [thumbs, setThumbs] = useState({});
  const [made] = useState(new Map());
  useEffect(() => {
    const control = new AbortController();
    const draw = async () => {
      for (const { id } of images.filter((each) => !made.has(each.id))) {
        const picture = await small(await api.kept(id, control.signal));
        if (control.signal.aborted) return;
        made.set(id, picture ? URL.createObjectURL(picture) : "");
        setThumbs(Object.fromEntries(made));
      }
    };
    draw().catch((error) => {
      if (error.name !== "AbortError" && !(error instanceof api.Problem)) throw error; // an image without a thumbnail has its name
    });
    return () => control.abort();
  }, [images]);
  useEffect(() => () => made.forEach((url) => url && URL.revokeObjectURL(url)), []);
  return thumbs;
}

function Kept({ image, thumb, act }) {
  const { id, name, width, height, size } = image;
  const file = async () => new File([await api.kept(id)], `${name}.${image.format}`, { type: `image/${image.format}` });
  const behindAll = () => act(async () => {
    await behind(await file());
    shown.value = false;
  });
  const take = () => act(async () => {
    await add([await file()]);
    shown.value = false;
  });
  const remove = () => act(async () => {
    await api.drop(`api/v1/images/${id}`);
    return id;
  });
  return html`<li data-image=${id}>
    <span class="shot">${thumb ? html`<img src=${thumb} alt="" />` : html`<${Icon} name="picture" />`}</span>
    <span class="name" title=${name}>${name}</span><span class="quiet">${width} × ${height} · ${bytes(size)}</span>
    <span class="row start"><button class="button small" onClick=${behindAll} aria-label=${t("library.behind.one", { name })}>${t("library.behind")}</button>
      <button class="act" onClick=${take} aria-label=${t("library.take", { name })} title=${t("add")}><${Icon} name="add" /></button>
      <button class="act" onClick=${remove} aria-label=${t("library.delete", { name })} title=${t("remove")}><${Icon} name="close" /></button></span></li>`;
}

function Images() {
  const [images, setImages] = useState([]);
  const [next, setNext] = useState("");
  const [held, setHeld] = useState(null);
  const [why, setWhy] = useState("");
  const thumbs = useThumbs(images);
  const read = async (start) => {
    const page = await api.images(PAGE, start);
    setImages((before) => [...(start ? before : []), ...page.images]);
    setNext(page.next);
    setHeld(await api.holdings());
  };
  const act = async (what) => {
    setWhy("");
    try {
      const gone = await what();
      if (!gone) return;
      setImages((before) => before.filter((each) => each.id !== gone));
      setHeld(await api.holdings());
    } catch (error) {
      if (!(error instanceof api.Problem)) throw error;
      setWhy(sentence(error));
    }
  };
  useEffect(() => {
    act(() => read());
  }, [api.key.value]);
  const picture = current.value;
  const keep = () => act(async () => {
    const blob = await store.file(picture.id, "result");
    await api.keep(new File([blob], named(picture), { type: blob.type }), named(picture).replace(/\.[^.]*$/, "").slice(0, LONGEST_NAME));
    await read();
  });
  return html`<p>${t("library.about")}</p>
    <button class="button" onClick=${keep} disabled=${picture?.status !== "done" || mending.value}><${Icon} name="add" />${t("library.keep")}</button>
    ${why && html`<p class="why" role="alert">${why}</p>`}
    <ul class="kept">${images.map((each) => html`<${Kept} key=${each.id} image=${each} thumb=${thumbs[each.id]} act=${act} />`)}</ul>
    ${next && html`<button class="button" onClick=${() => act(() => read(next))}>${t("more")}</button>`}
    ${held && html`<p class="quiet">${t("library.held", { n: number(held.images), most: number(held.allowed_images), size: bytes(held.bytes), room: bytes(held.allowed_bytes) })}</p>`}`;
}

export function Library() {
  return shown.value && html`<${Dialog} title=${t("library")} onClose=${() => (shown.value = false)}><${Images} /><//>`;
}
