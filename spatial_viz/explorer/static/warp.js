// The picture at a pose: exactly what the network sees, or smooth for the eye.

// Index of the pixel that stands for position i outside 0..n-1 (or -1 for black), for whole-number i.
function paddedIndex(i, n, padding) {
  if (i >= 0 && i < n) return i;
  if (padding === "black") return -1;
  if (padding === "edge" || n === 1) return clamp(i, 0, n - 1);
  const period = 2 * (n - 1);
  const m = ((i % period) + period) % period;
  return m < n ? m : period - m;
}

// One inverse bilinear resampling of the picture at a pose into RGBA bytes. Exported for the tests.
export function warp(picture, pixels, pose, out) {
  const { width: W, height: H, channels: C, padding } = picture;
  const angle = (pose.rotation * Math.PI) / 180;
  const cos = Math.cos(angle);
  const sin = Math.sin(angle);
  const [cx, cy] = [(W - 1) / 2, (H - 1) / 2];
  const black = padding === "black";
  let o = 0;
  for (let y = 0; y < H; y++) {
    const v = y - cy - pose.dy;
    for (let x = 0; x < W; x++, o += 4) {
      const u = x - cx - pose.dx;
      const sx = cos * u - sin * v + cx;
      const sy = sin * u + cos * v + cy;
      let x0 = Math.floor(sx);
      let y0 = Math.floor(sy);
      const fx = sx - x0;
      const fy = sy - y0;
      let x1 = x0 + 1;
      let y1 = y0 + 1;
      let a = (1 - fx) * (1 - fy);
      let b = fx * (1 - fy);
      let c = (1 - fx) * fy;
      let d = fx * fy;
      if (x0 < 0 || y0 < 0 || x1 >= W || y1 >= H) {
        if (black) {
          if (x0 < 0 || x0 >= W) a = c = 0;
          if (x1 < 0 || x1 >= W) b = d = 0;
          if (y0 < 0 || y0 >= H) a = b = 0;
          if (y1 < 0 || y1 >= H) c = d = 0;
          x0 = clamp(x0, 0, W - 1);
          x1 = clamp(x1, 0, W - 1);
          y0 = clamp(y0, 0, H - 1);
          y1 = clamp(y1, 0, H - 1);
        } else {
          x0 = paddedIndex(x0, W, padding);
          x1 = paddedIndex(x1, W, padding);
          y0 = paddedIndex(y0, H, padding);
          y1 = paddedIndex(y1, H, padding);
        }
      }
      const p = (y0 * W + x0) * C;
      const q = (y0 * W + x1) * C;
      const r = (y1 * W + x0) * C;
      const s = (y1 * W + x1) * C;
      out[o] = a * pixels[p] + b * pixels[q] + c * pixels[r] + d * pixels[s];
      if (C === 3) {
        out[o + 1] = a * pixels[p + 1] + b * pixels[q + 1] + c * pixels[r + 1] + d * pixels[s + 1];
        out[o + 2] = a * pixels[p + 2] + b * pixels[q + 2] + c * pixels[r + 2] + d * pixels[s + 2];
      } else {
        out[o + 1] = out[o + 2] = out[o];
      }
      out[o + 3] = 255;
    }
  }
}

// The largest change of any value of the picture, of 255, when it is brought to a pose.
let turned = new Uint8ClampedArray(0);

function largestChange({ picture, pixels }, pose) {
  const { width, height, channels } = picture;
  if (turned.length !== 4 * width * height) turned = new Uint8ClampedArray(4 * width * height);
  warp(picture, pixels, pose, turned);
  let most = 0;
  for (let i = 0, o = 0; o < turned.length; o += 4)
    for (let c = 0; c < channels; c++, i++) most = Math.max(most, Math.abs(turned[o + c] - pixels[i]));
  return most;
}

// A drawable picture: as pixels (exactly what the network sees) or smooth (the browser resamples for the eye).
function makePicture({ picture, pixels }) {
  const { width: W, height: H, channels: C, padding } = picture;
  const [small, paint] = offscreen(W, H);
  const image = paint.createImageData(W, H);
  let wide = null; // the picture with a margin on every side, made when first shown smoothly
  let warped = null; // the pose of what `small` holds: panes with the same picture need it warped once

  function widen() {
    const [canvas, context] = offscreen(3 * W, 3 * H);
    const big = context.createImageData(3 * W, 3 * H);
    for (let y = 0, o = 0; y < 3 * H; y++) {
      const sy = paddedIndex(y - H, H, padding);
      for (let x = 0; x < 3 * W; x++, o += 4) {
        const sx = paddedIndex(x - W, W, padding);
        const from = (sy * W + sx) * C;
        for (let c = 0; c < 3; c++) big.data[o + c] = sx < 0 || sy < 0 ? 0 : pixels[from + (C === 3 ? c : 0)];
        big.data[o + 3] = 255;
      }
    }
    context.putImageData(big, 0, 0);
    return canvas;
  }

  return function draw(context, box, pose, smooth) {
    context.save();
    context.imageSmoothingEnabled = smooth;
    if (smooth) {
      wide ??= widen();
      const scale = box.w / W;
      context.beginPath();
      context.rect(box.x, box.y, box.w, box.h);
      context.clip();
      context.translate(box.x + box.w / 2 + pose.dx * scale, box.y + box.h / 2 + pose.dy * scale);
      context.rotate((-pose.rotation * Math.PI) / 180);
      context.imageSmoothingQuality = "high";
      context.drawImage(wide, -1.5 * box.w, -1.5 * box.h, 3 * box.w, 3 * box.h);
    } else {
      if (!warped || !samePose(warped, pose)) {
        warp(picture, pixels, pose, image.data);
        paint.putImageData(image, 0, 0);
        warped = { ...pose };
      }
      context.drawImage(small, box.x, box.y, box.w, box.h);
    }
    context.restore();
  };
}
