// The part of a component that Streamlit loads itself: it fetches the module that does the work from our own route,
// because Streamlit hands inline code to the browser as a blob, in which relative imports do not resolve.
const mounted = new WeakMap(); // element -> its view, over reruns and changes of theme

export default function (component) {
  const { parentElement, data } = component;
  if (!mounted.has(parentElement)) {
    const place = { view: null, gone: false };
    place.ready = import(new URL(data.module, location.origin).href).then(({ View }) => {
      if (!place.gone) place.view = new View(parentElement);
    });
    mounted.set(parentElement, place);
  }
  const place = mounted.get(parentElement);
  place.latest = component;
  place.ready.then(
    () => place.latest === component && place.view?.update(component),
    (error) => {
      const failure = document.createElement("p");
      failure.textContent = `This part of the page could not be loaded (${error.message}). Reload the page.`;
      parentElement.replaceChildren(failure);
      mounted.delete(parentElement);
    },
  );
  return () => {
    place.gone = true;
    place.view?.destroy();
    mounted.delete(parentElement);
  };
}
