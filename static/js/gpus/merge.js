/* What a message of the feed makes of what was known. The messages: deployments/gpu_frames.py. Nothing that is given is changed. */

/** All nodes by name after a snapshot. While the server hears of nobody, what was known `before` is kept where it is not older. */
export function fromSnapshot({ nodes, stale, away }, before) {
  const after = new Map(nodes.map((node) => [node.node, { ...node, stale_since: stale[node.node] ?? null }]));
  if (away === null) return after;
  for (const [name, node] of before) if (!(after.get(name)?.at > node.at)) after.set(name, node);
  return after;
}

/** A node after its part of a delta; `held` is undefined for a new one. What did not change stays the same object. */
export function withDelta(held = { gpus: [], host: null }, { gpus, order, host, ...rest }) {
  const known = new Map(held.gpus.map((gpu) => [gpu.uuid, gpu]));
  for (const [uuid, fields] of Object.entries(gpus)) known.set(uuid, { ...known.get(uuid), ...fields });
  const uuids = order ?? held.gpus.map((gpu) => gpu.uuid);
  const after = { ...held, ...rest, gpus: uuids.map((uuid) => known.get(uuid)), stale_since: null };
  if (host !== undefined) after.host = host && { ...held.host, ...host };
  return after;
}
