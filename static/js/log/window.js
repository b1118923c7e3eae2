/* The rows of a log that are in the page: one unbroken stretch, bounded, that grows at either end without a jump. */

import { BLOCK_ROWS, blocks, firstBelow } from "berth/log/blocks";
import { itemOf } from "berth/log/painter";

const MOST_ROWS = 5000;
const NEAR_END_PX = 24;

export class LogWindow {
  constructor(scroller, rows, painter) {
    this.scroller = scroller;
    this.rows = rows;
    this.lines = rows.getElementsByClassName("log-line");
    this.painter = painter;
    this.endTop = 0;
  }

  get isEmpty() {
    return this.rows.childElementCount === 0;
  }

  get isFull() {
    return this.lines.length >= MOST_ROWS;
  }

  /** The number of the first line, or of the first missing one; 0 without rows. */
  get first() {
    const item = this.lines.length ? itemOf(this.lines[0]) : undefined;
    return item ? item.c - (item.gap ?? 1) + 1 : 0;
  }

  get last() {
    return Number(this.rows.lastElementChild?.lastElementChild.dataset.c ?? 0);
  }

  get atEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.scroller;
    return scrollHeight - scrollTop - clientHeight < NEAR_END_PX;
  }

  get items() {
    return [...this.lines].map(itemOf);
  }

  hasRoomFor(number) {
    return this.lines.length + number <= MOST_ROWS;
  }

  rowOf(cursor) {
    return this.rows.querySelector(`[data-c="${cursor}"]`);
  }

  /** The number of the first line in view. */
  get firstInView() {
    return Number(this.rowAt(this.scroller.scrollTop)?.dataset.c ?? 0);
  }

  rowAt(top) {
    const block = firstBelow(this.rows.children, top);
    return block && firstBelow(block.children, top);
  }

  /** Add items behind the last, and go to the end with them; true when rows at the other end had to go. */
  follow(items) {
    this.fill(items);
    const trimmed = this.trim(() => this.rows.firstElementChild.firstElementChild);
    this.toEnd();
    return trimmed;
  }

  /** Add items behind the last; true when rows at the other end had to go. */
  append(items) {
    return this.anchored(() => {
      this.fill(items);
      return this.trim(() => this.rows.firstElementChild.firstElementChild);
    });
  }

  /** Add items before the first; true when rows at the other end had to go. */
  prepend(items) {
    return this.anchored(() => {
      this.rows.prepend(...blocks(this.painter, items));
      return this.trim(() => this.rows.lastElementChild.lastElementChild);
    });
  }

  reset(items) {
    this.rows.replaceChildren(...blocks(this.painter, items.slice(-MOST_ROWS)));
  }

  fill(items) {
    const kept = items.slice(-MOST_ROWS);
    const last = this.rows.lastElementChild;
    const room = last ? Math.max(0, BLOCK_ROWS - last.childElementCount) : 0;
    last?.append(...kept.slice(0, room).map((item) => this.painter.row(item)));
    this.rows.append(...blocks(this.painter, kept.slice(room)));
  }

  trim(next) {
    const beyond = Math.max(0, this.lines.length - MOST_ROWS);
    for (let n = 0; n < beyond; n += 1) {
      const row = next();
      const block = row.parentElement;
      row.remove();
      if (!block.firstElementChild) block.remove();
    }
    return beyond > 0;
  }

  /** Do `change`; what the reader looks at stays where it is on the screen. */
  anchored(change) {
    const kept = this.rowAt(this.scroller.scrollTop);
    const before = kept?.getBoundingClientRect().top;
    const result = change();
    if (kept?.isConnected) this.scroller.scrollTop += kept.getBoundingClientRect().top - before;
    return result;
  }

  toEnd() {
    this.scroller.scrollTop = this.scroller.scrollHeight;
    this.endTop = this.scroller.scrollTop;
  }

  /** Whether the reader scrolled away from the end: rows that grow below, as when they wrap anew, move nothing. */
  get wasMovedUp() {
    return this.scroller.scrollTop < this.endTop - 1;
  }

  /** Bring a row into view, in the middle unless it is in view already. */
  show(row) {
    const frame = this.scroller.getBoundingClientRect();
    const place = row.getBoundingClientRect();
    if (place.top < frame.top || place.bottom > frame.bottom) {
      this.scroller.scrollTop += place.top - frame.top - (frame.height - place.height) / 2;
    }
    this.scroller.scrollLeft = 0;
  }
}
