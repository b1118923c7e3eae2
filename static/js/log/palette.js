/* Any terminal colour as one of the sixteen that the style sheet has a legible shade for, in light and in dark. */

const BRIGHT = 8;
const GREYS = [
  [48, 0],
  [128, 8],
  [208, 7],
  [256, 15],
];
// Up to this hue (degrees), this colour.
const HUES = [
  [20, 1],
  [75, 3],
  [160, 2],
  [205, 6],
  [260, 4],
  [345, 5],
  [361, 1],
];
const GREY_BELOW = 40;
const BRIGHT_FROM = 224;
// The six steps of xterm's colour cube.
const STEPS = [0, 95, 135, 175, 215, 255];

function hueOf(r, g, b, most, spread) {
  if (most === r) return (60 * ((g - b) / spread) + 360) % 360;
  return most === g ? 60 * ((b - r) / spread) + 120 : 60 * ((r - g) / spread) + 240;
}

function below(table, value) {
  return table.find(([end]) => value < end)[1];
}

/** The number, 0 to 15, of the colour that is nearest to red, green and blue of 0 to 255. */
export function nearest(r, g, b) {
  const most = Math.max(r, g, b);
  const spread = most - Math.min(r, g, b);
  if (spread < GREY_BELOW) return below(GREYS, most);
  return below(HUES, hueOf(r, g, b, most, spread)) + (most >= BRIGHT_FROM ? BRIGHT : 0);
}

/** The number, 0 to 15, for a number of xterm's 256 colours. */
export function indexed(number) {
  if (number < 16) return number;
  if (number > 231) {
    const grey = 8 + 10 * (number - 232);
    return nearest(grey, grey, grey);
  }
  const cube = number - 16;
  return nearest(STEPS[Math.floor(cube / 36)], STEPS[Math.floor(cube / 6) % 6], STEPS[cube % 6]);
}
