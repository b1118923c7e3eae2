/* The columns of one GPU over a range: asked for once, then each reading is added at the end. Gaps stay gaps. */

const FIELDS = {
  used: "memory_used_bytes",
  reserved: "memory_reserved_bytes",
  foreign: "memory_foreign_bytes",
  busy: "utilization_gpu_percent",
  sm: "sm_active_percent",
  power: "power_watts",
  temperature: "temperature_gpu_celsius",
  clock: "clock_sm_mhz",
  limiters: "limiters",
};
//: As deployments.gpu_readings.LIMITERS: the bits of the mask.
const LIMITERS = ["idle", "applications", "power_cap", "power_brake", "thermal_software", "thermal_hardware", "hardware", "sync"];
const GAP_S = 3;
export const LENGTH_S = { "15m": 900, "6h": 21_600, "24h": 86_400, "7d": 604_800 };

/** The bit of a limiter. */
export const bit = (name) => 1 << LIMITERS.indexOf(name);

function emptyLike(at) {
  return at.map(() => null);
}

function columns(fields, at) {
  const read = (field) => fields[field]?.mean ?? emptyLike(at);
  return Object.fromEntries(Object.entries(FIELDS).map(([name, field]) => [name, [...read(field)]]));
}

function edges(fields, at, edge) {
  return Object.fromEntries(Object.entries(FIELDS).map(([name, field]) => [name, fields[field]?.[edge] ?? emptyLike(at)]));
}

/** What the server told, as one object of equally long arrays; `runs` is a Map of deployment id -> {config, values}. */
export function columnsOf(answer) {
  const { at, fields, runs, markers, step_s: step, range } = answer;
  const held = Object.entries(runs).map(([id, run]) => [Number(id), { config: run.config, values: [...run.mean] }]);
  return {
    range,
    step,
    at: [...at],
    ...columns(fields, at),
    low: step > 1 ? edges(fields, at, "min") : null,
    high: step > 1 ? edges(fields, at, "max") : null,
    runs: new Map(held.sort(([a], [b]) => a - b)),
    markers,
  };
}

/** Ask for a range. Throws when there is no answer. */
export async function load(address, range, signal) {
  const response = await fetch(`${address}?range=${range}`, { headers: { Accept: "application/json" }, signal });
  if (!response.ok) throw new Error(`the history answered ${response.status}`);
  return columnsOf(await response.json());
}

function heldBy(gpu, run) {
  const sizes = (gpu.processes ?? []).filter((process) => process.run_name === run.run_name);
  return sizes.some((process) => process.memory_bytes === null) ? null : sizes.reduce((sum, process) => sum + process.memory_bytes, 0);
}

function foreignOf(gpu) {
  if (!gpu.processes || gpu.processes.some((process) => !process.attributed)) return null;
  return gpu.processes.filter((process) => !process.run_name).reduce((sum, process) => sum + (process.memory_bytes ?? 0), 0);
}

function push(series, at, values, runs) {
  series.at.push(at);
  for (const name of Object.keys(FIELDS)) series[name].push(values?.[name] ?? null);
  for (const [id, run] of series.runs) run.values.push(runs ? (runs.get(id) ?? 0) : null);
}

function forget(series, before) {
  let old = 0;
  while (old < series.at.length && series.at[old] < before) old += 1;
  if (old === 0) return;
  for (const name of ["at", ...Object.keys(FIELDS)]) series[name].splice(0, old);
  for (const run of series.runs.values()) run.values.splice(0, old);
}

/** What there is to draw: another text means other layers and keys. */
export function presence(series) {
  const mask = series.limiters.reduce((all, value) => all | (value ?? 0), 0);
  return JSON.stringify([[...series.runs.keys()], series.foreign.some((bytes) => bytes > 0), mask]);
}

/** Add a reading of the finest range. */
export function append(series, gpu, node) {
  const last = series.at.at(-1) ?? 0;
  if (node.at <= last) return;
  const here = (node.runs ?? []).filter((run) => (gpu.processes ?? []).some((process) => process.run_name === run.run_name));
  for (const run of here) {
    if (series.runs.has(run.deployment_id)) continue;
    series.runs.set(run.deployment_id, { config: run.config, values: series.at.map((_, index) => (series.used[index] === null ? null : 0)) });
  }
  if (last && node.at - last > GAP_S) push(series, last + 1, null, null);
  const values = Object.fromEntries(Object.entries(FIELDS).map(([name, field]) => [name, gpu[field]]));
  values.limiters = (gpu.limiters ?? []).reduce((mask, name) => mask | bit(name), 0);
  values.foreign = foreignOf(gpu);
  const runs = gpu.processes ? new Map(here.map((run) => [run.deployment_id, heldBy(gpu, run)])) : null;
  push(series, node.at, values, runs);
  forget(series, node.at - LENGTH_S[series.range]);
}
