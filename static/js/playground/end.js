/* Whoever looks at the end of a page stays there while it grows; whoever scrolled away is left alone. */

const NEAR_PX = 120;

/** Follow the end of the page while `element` grows. `follow()` does so again, wherever the page is; `stop()`. */
export function attachEnd(element) {
  const page = document.scrollingElement;
  let follows = true;
  let before = page.scrollTop;
  const isNear = () => page.scrollHeight - page.scrollTop - page.clientHeight < NEAR_PX;

  // Only going up is a wish to leave: a page that grew is not at its end either.
  function scrolled() {
    if (page.scrollTop < before - 1) follows = isNear();
    else if (isNear()) follows = true;
    before = page.scrollTop;
  }

  const sizes = new ResizeObserver(() => {
    if (follows) page.scrollTop = page.scrollHeight;
  });
  sizes.observe(element);
  addEventListener("scroll", scrolled, { passive: true });
  return {
    follow() {
      follows = true;
    },
    stop() {
      sizes.disconnect();
      removeEventListener("scroll", scrolled);
    },
  };
}
