/* Whoever looks at the end of a page stays there while it grows; whoever scrolled away is left alone. */

const NEAR_PX = 120;

/** Follow the end of the page while `element` grows. `follow()` does so again, wherever the page is; `stop()`. */
export function attachEnd(element) {
  const page = document.scrollingElement;
  let follows = true;
  let before = page.scrollTop;
  let height = page.scrollHeight;
  const isNear = () => page.scrollHeight - page.scrollTop - page.clientHeight < NEAR_PX;

  // Only going up is a wish to leave: a page that grew is not at its end either, and one that shrank was moved. It does
  // both when what was out of view comes into it, since until then its size was a guess.
  function scrolled() {
    if (page.scrollTop < before - 1 && page.scrollHeight >= height) follows = isNear();
    else if (isNear()) follows = true;
    before = page.scrollTop;
    height = page.scrollHeight;
  }

  /* At once: a page that glides there is drawn again for most of a second, and never arrives while words come. */
  function goToEnd() {
    if (follows) page.scrollTo({ top: page.scrollHeight, behavior: "instant" });
  }

  const sizes = new ResizeObserver(goToEnd);
  sizes.observe(element);
  addEventListener("scroll", scrolled, { passive: true });
  return {
    follow() {
      follows = true;
      // What it was scrolled to before this is no way up.
      before = -Infinity;
      requestAnimationFrame(goToEnd);
    },
    stop() {
      sizes.disconnect();
      removeEventListener("scroll", scrolled);
    },
  };
}
