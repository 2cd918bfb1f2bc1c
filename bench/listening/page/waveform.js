// Drawing what is heard. A and B are drawn as one shape, that of both together: raters judge by ear, and an eye that
// sees two shapes knows at once which pair is twice the same clip, which voice speaks longer and which is never silent.

/** The loudest sample of each of `columns` slices, 0 to 1, over clips of one length. */
export function peaks(clips, columns) {
  const out = new Float32Array(columns);
  for (const clip of clips) {
    const data = clip.getChannelData(0);
    for (let column = 0; column < columns; column += 1) {
      const end = Math.floor(((column + 1) * data.length) / columns);
      for (let i = Math.floor((column * data.length) / columns); i < end; i += 1) {
        const size = Math.abs(data[i]);
        if (size > out[column]) out[column] = size;
      }
    }
  }
  return out;
}

const BAR = 2;
const GAP = 1.5;

/** Draw `clips` as one shape into `canvas`: what was heard in full colour, the rest pale, a line at `position`. */
export function draw(canvas, clips, { heard = [], position = null, lively = true } = {}) {
  const width = canvas.clientWidth;
  const height = canvas.clientHeight;
  if (!width || !height) return;
  const ratio = window.devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const style = getComputedStyle(canvas);
  const ink = style.getPropertyValue("--wave-heard");
  const pale = style.getPropertyValue("--wave");
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  const columns = Math.max(1, Math.floor(width / (BAR + GAP)));
  if (canvas.shape?.clips !== clips || canvas.shape.columns !== columns) {
    const sizes = peaks(clips, columns);
    canvas.shape = { clips, columns, sizes, loudest: Math.max(...sizes) };
  }
  const { sizes, loudest } = canvas.shape;
  const { duration } = clips[0];
  const middle = height / 2;
  pen.globalAlpha = lively ? 1 : 0.55;
  for (let column = 0; column < columns; column += 1) {
    const at = ((column + 0.5) / columns) * duration;
    const size = Math.max(1.5, Math.sqrt(sizes[column] / loudest) * (height - 4));
    pen.fillStyle = heard.some(([start, end]) => at >= start && at <= end) ? ink : pale;
    pen.beginPath();
    if (pen.roundRect) pen.roundRect(column * (BAR + GAP), middle - size / 2, BAR, size, BAR / 2);
    else pen.rect(column * (BAR + GAP), middle - size / 2, BAR, size);
    pen.fill();
  }
  pen.globalAlpha = 1;
  if (position !== null) {
    pen.fillStyle = style.getPropertyValue("--ink");
    pen.fillRect(Math.min(width - 1.5, (position / duration) * width), 0, 1.5, height);
  }
}
