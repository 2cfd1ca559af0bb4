/**
 * The font size at which a terminal of cols × rows fills a box. Pure.
 *
 * A viewer never resizes the program to fit the window: it shows the true grid in the space there is.
 */
export interface Box {
  readonly width: number;
  readonly height: number;
}

export interface FontBounds {
  readonly min: number;
  readonly max: number;
}

/**
 * `drawn` is the grid's size as it is now, at `fontSize`. Steps are quarters of a pixel: finer is not drawn.
 */
export function fittingFontSize(box: Box, drawn: Box & { fontSize: number }, bounds: FontBounds): number {
  if (drawn.width <= 0 || drawn.height <= 0 || box.width <= 0) return drawn.fontSize;
  const scale = Math.min(
    box.width / drawn.width,
    box.height > 0 ? box.height / drawn.height : Number.POSITIVE_INFINITY,
  );
  const size = Math.floor(drawn.fontSize * scale * 4) / 4;
  return Math.min(bounds.max, Math.max(bounds.min, size));
}
