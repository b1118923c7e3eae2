/* Notices what only the server can draw: another process, another state, a flag. The region then asks for itself. */

import { attach } from "berth/attach";
import { watch } from "berth/gpus/watch";

const NOT_SOONER_MS = 1000;

function ofGpu(gpu) {
  const processes = (gpu.processes ?? []).map((process) => [process.pid, process.run_name, process.attributed]);
  return [gpu.uuid, gpu.state, gpu.error, gpu.recovery_action, gpu.xid_at, gpu.ecc_uncorrected, processes];
}

function signature(state) {
  return JSON.stringify(
    [...state.nodes.values()].map((node) => [
      node.node,
      node.reason,
      node.source,
      Boolean(node.stale_since),
      (node.gpus ?? []).map(ofGpu),
      (node.runs ?? []).map((run) => [run.run_name, run.phase, run.flags, run.assigned, run.observed]),
    ]),
  );
}

attach("[data-gpu-region]", (region) => {
  let seen;
  let timer;
  const leave = watch((state) => {
    const next = signature(state);
    if (seen !== undefined && next !== seen)
      timer ??= setTimeout(() => {
        timer = undefined;
        region.dispatchEvent(new CustomEvent("berth:gpus", { bubbles: false }));
      }, NOT_SOONER_MS);
    seen = next;
  });
  return () => {
    clearTimeout(timer);
    leave();
  };
});
