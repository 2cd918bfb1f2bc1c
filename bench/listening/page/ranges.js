// Ranges of seconds that were heard: pure functions.

/** The same seconds as ranges in order that do not touch. */
export function union(ranges) {
  const merged = [];
  for (const [start, end] of [...ranges].sort((x, y) => x[0] - y[0])) {
    const last = merged[merged.length - 1];
    if (last && start <= last[1] + 0.002) last[1] = Math.max(last[1], end);
    else merged.push([start, end]);
  }
  return merged;
}

/** What of a clip of `length` was heard while playback ran from `start` for `seconds`, round the end if it loops. */
export function played(start, seconds, length, loops) {
  if (seconds <= 0) return [];
  if (!loops) return [[Math.min(start, length), Math.min(start + seconds, length)]];
  if (seconds >= length) return [[0, length]];
  const from = start % length;
  const to = from + seconds;
  return to <= length ? [[from, to]] : [[from, length], [0, to - length]];
}
