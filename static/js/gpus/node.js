/* What stands around the tiles: a node's host and the age of its data, the fleet's sums, the processes. */

import { attach } from "berth/attach";
import { duration } from "berth/ages";
import { gib, isKnown, kilowatts, now, rate, tenth, whole, wholeGib, write } from "berth/gpus/numbers";
import { watch, watchNode } from "berth/gpus/watch";
import { words } from "berth/gpus/words";

const LATE_S = 3;
const LONG_S = 60;
const HOST = {
  cpu_percent: whole,
  memory_used_bytes: wholeGib,
  disk_free_bytes: wholeGib,
  network_received_bytes_s: rate,
  network_sent_bytes_s: rate,
};

function showAge(element) {
  const age = Math.max(0, now() - Number(element.dataset.at));
  element.classList.toggle("is-late", age > LATE_S);
  const text = age < LONG_S ? words("old", { n: tenth(age) }) : words("long_old", { age: duration(age) });
  write(element.querySelector("[data-age-text]"), text);
}

attach("[data-age-of]", (element) => {
  const tick = () => now() - Number(element.dataset.at) > LATE_S && showAge(element);
  const timer = setInterval(tick, 1000);
  showAge(element);
  const leave = watchNode(element.dataset.ageOf, (node) => {
    element.dataset.at = node.at;
    showAge(element);
  });
  return () => {
    clearInterval(timer);
    leave();
  };
});

attach("[data-gpu-node]", (section) =>
  watchNode(section.dataset.gpuNode, ({ host }) => {
    if (!host) return;
    for (const element of section.querySelectorAll("[data-host]")) write(element, HOST[element.dataset.host](host[element.dataset.host]));
  }),
);

attach("[data-fleet=memory]", (element) => watch((state) => write(element, wholeGib(sum(state, "memory_used_bytes")))));
attach("[data-fleet=power]", (element) => watch((state) => write(element, kilowatts(sum(state, "power_watts")))));

function sum(state, field) {
  const gpus = [...state.nodes.values()].flatMap((node) => node.gpus ?? []);
  const found = gpus.filter((gpu) => !gpu.parent_uuid && isKnown(gpu[field])).map((gpu) => gpu[field]);
  return found.length ? found.reduce((total, value) => total + value, 0) : null;
}

attach("[data-process]", (row) =>
  watchNode(row.dataset.node, (node) => {
    const gpu = node.gpus.find((each) => each.uuid === row.dataset.uuid);
    const process = gpu?.processes?.find((each) => String(each.pid) === row.dataset.process);
    if (!process) return;
    write(row.querySelector("[data-process-memory]"), gib(process.memory_bytes));
    write(row.querySelector("[data-process-busy]"), whole(process.utilization_percent));
  }),
);
