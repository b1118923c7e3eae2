/* The edges of a memory bar's parts. The server draws the parts; a new one makes the page ask for them again. */

import { gib, write } from "berth/gpus/numbers";

const NAMED_FROM_BYTES = 2 ** 29;
const HELD_FROM_BYTES = 2 ** 26;

/** Bytes by the key of a part: run:<name>, foreign, unknown, used, reserved. The server's memory_parts does the same. */
export function sizesOf(gpu) {
  const sizes = new Map();
  const add = (key, bytes) => sizes.set(key, (sizes.get(key) ?? 0) + bytes);
  for (const process of gpu.processes ?? []) {
    const key = process.run_name ? `run:${process.run_name}` : process.attributed ? "foreign" : "unknown";
    add(key, process.memory_bytes ?? 0);
  }
  const explained = [...sizes.values()].reduce((sum, bytes) => sum + bytes, 0);
  sizes.set("used", Math.max(0, (gpu.memory_used_bytes ?? 0) - explained));
  sizes.set("reserved", gpu.memory_reserved_bytes ?? 0);
  return sizes;
}

function place(rect, start, width) {
  rect.setAttribute("x", `${start.toFixed(3)}%`);
  rect.setAttribute("width", `${width.toFixed(3)}%`);
}

function isNamed(key, bytes) {
  return bytes >= (key.startsWith("run:") || key === "foreign" ? HELD_FROM_BYTES : NAMED_FROM_BYTES);
}

/** Move the parts of `tile`, and write how large each is. */
export function paintMemory(tile, gpu) {
  const total = gpu.memory_total_bytes;
  if (!total) return;
  const sizes = sizesOf(gpu);
  const edges = new Map();
  let start = 0;
  for (const rect of tile.querySelectorAll("[data-part]")) {
    const key = rect.dataset.part;
    if (!edges.has(key)) {
      const width = Math.min((100 * (sizes.get(key) ?? 0)) / total, 100 - start);
      edges.set(key, key === "reserved" ? [100 - width, width] : [start, width]);
      start += width;
    }
    place(rect, ...edges.get(key));
  }
  for (const item of tile.querySelectorAll("[data-key]")) {
    const bytes = sizes.get(item.dataset.key) ?? 0;
    item.hidden = !isNamed(item.dataset.key, bytes);
    write(item.querySelector("[data-size]"), gib(bytes));
  }
}
