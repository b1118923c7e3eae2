/* Ages that count by themselves: <time datetime data-age="since"> and data-age="ago". */

const texts = document.querySelector('meta[name="berth-ages"]').dataset;
//: How far the browser's clock is off the server's, in ms.
const skew = Number(document.documentElement.dataset.now) * 1000 - Date.now();

/** Seconds as words: 42 s, 12 min, 2 h 10 min, 3 d 4 h; the same as the template filter `duration`. */
export function duration(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  const minutes = Math.floor(s / 60);
  const hours = Math.floor(minutes / 60);
  if (s < 60) return texts.seconds.replace("{n}", String(s));
  if (minutes < 60) return texts.minutes.replace("{n}", String(minutes));
  if (hours < 24) return texts.hours.replace("{h}", String(hours)).replace("{m}", String(minutes % 60));
  return texts.days.replace("{d}", String(Math.floor(hours / 24))).replace("{h}", String(hours % 24));
}

function tick() {
  const now = Date.now() + skew;
  for (const element of document.querySelectorAll("time[data-age]")) {
    const seconds = (now - Date.parse(element.dateTime)) / 1000;
    let text = duration(seconds);
    if (element.dataset.age === "ago") text = seconds < 5 ? texts.now : texts.ago.replace("{age}", text);
    if (element.textContent !== text) element.textContent = text;
  }
}

setInterval(tick, 1000);
document.addEventListener("visibilitychange", tick);
