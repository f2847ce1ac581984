// Places on a plane: where each is drawn, and what encloses a district.

export const WIDTH = 1000;
export const HEIGHT = 700;
const MARGIN = 60;

/**
 * Where zones are drawn: id to [x, y]. Equirectangular about the middle latitude, which over a town is true to shape.
 * Zones without a position have none here.
 */
export function positions(zones) {
  const placed = zones.filter((zone) => zone.lat !== null && zone.lon !== null);
  if (!placed.length) return new Map();
  const lats = placed.map((zone) => zone.lat);
  const middle = ((Math.min(...lats) + Math.max(...lats)) / 2) * (Math.PI / 180);
  const points = placed.map((zone) => [zone.lon * Math.cos(middle), -zone.lat]);
  const [xs, ys] = [0, 1].map((axis) => points.map((point) => point[axis]));
  const [left, top] = [Math.min(...xs), Math.min(...ys)];
  const [wide, high] = [Math.max(...xs) - left, Math.max(...ys) - top];
  const scale = Math.min((WIDTH - 2 * MARGIN) / (wide || 1e-9), (HEIGHT - 2 * MARGIN) / (high || 1e-9), 1e7);
  return new Map(
    placed.map((zone, at) => [
      zone.id,
      [WIDTH / 2 + (points[at][0] - left - wide / 2) * scale, HEIGHT / 2 + (points[at][1] - top - high / 2) * scale],
    ]),
  );
}

export function centre(points) {
  return [0, 1].map((axis) => points.reduce((sum, point) => sum + point[axis], 0) / points.length);
}

/** The convex hull, by Andrew's monotone chain (1979). */
export function hull(points) {
  const sorted = [...points].sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  if (sorted.length < 3) return sorted;
  const turns = (o, a, b) => (a[0] - o[0]) * (b[1] - o[1]) - (a[1] - o[1]) * (b[0] - o[0]);
  const half = (some) => {
    const chain = [];
    for (const point of some) {
      while (chain.length > 1 && turns(chain.at(-2), chain.at(-1), point) <= 0) chain.pop();
      chain.push(point);
    }
    return chain.slice(0, -1);
  };
  return [...half(sorted), ...half(sorted.reverse())];
}

/** The largest radius of a circle: so that as many as there are have room, were they spread evenly. */
export function largest(count) {
  return Math.max(5, Math.min(44, 0.34 * Math.sqrt((WIDTH * HEIGHT) / Math.max(count, 1))));
}

/** Of labels [x, y, text, …] in order those that none before them is in the way of. `size`: of the letters. */
export function readable(labels, size) {
  const boxes = [];
  return labels.filter(([x, y, text]) => {
    const half = 0.33 * size * text.length;
    const box = [x - half, y - (2 * size) / 3, x + half, y + (2 * size) / 3];
    if (boxes.some((other) => box[0] < other[2] && other[0] < box[2] && box[1] < other[3] && other[1] < box[3]))
      return false;
    boxes.push(box);
    return true;
  });
}
