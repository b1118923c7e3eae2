/* A GPU's tile: its numbers change in place each second. Words that need judgement come with the server's drawing. */

import { attach } from "berth/attach";
import { paintMemory } from "berth/gpus/memory_bar";
import { gib, isKnown, whole, write } from "berth/gpus/numbers";
import { sparkOf } from "berth/gpus/spark";
import { watchNode } from "berth/gpus/watch";
import { limiterWords } from "berth/gpus/words";

const VALUES = {
  memory_used: (gpu) => gib(gpu.memory_used_bytes),
  memory_total: (gpu) => gib(gpu.memory_total_bytes),
  utilisation: (gpu) => whole(gpu.utilization_gpu_percent),
  sm: (gpu) => whole(gpu.sm_active_percent),
  power: (gpu) => whole(gpu.power_watts),
  power_limit: (gpu) => whole(gpu.power_limit_watts),
  temperature: (gpu) => whole(gpu.temperature_gpu_celsius),
  temperature_memory: (gpu) => whole(gpu.temperature_memory_celsius),
};
const SHOWN_IF = { sm: "sm_active_percent", temperature_memory: "temperature_memory_celsius" };

function powerPercent({ power_watts: watts, power_limit_watts: limit }) {
  return isKnown(watts) && limit ? Math.min(100, (100 * watts) / limit) : 0;
}

function paint(tile, gpu) {
  for (const element of tile.querySelectorAll("[data-value]")) write(element, VALUES[element.dataset.value](gpu));
  for (const element of tile.querySelectorAll("[data-if]")) element.hidden = !isKnown(gpu[SHOWN_IF[element.dataset.if]]);
  tile.querySelector("[data-meter=power]")?.setAttribute("width", `${powerPercent(gpu).toFixed(1)}%`);
  write(tile.querySelector("[data-limiter]"), limiterWords(gpu.limited_s));
  paintMemory(tile, gpu);
}

attach("[data-gpu]", (tile) => {
  const drawSpark = sparkOf(tile.querySelector("[data-spark]"));
  return watchNode(tile.dataset.node, (node) => {
    const gpu = node.gpus.find((each) => each.uuid === tile.dataset.uuid);
    if (!gpu) return;
    paint(tile, gpu);
    drawSpark(gpu.utilization_gpu_percent, node.at);
  });
});
