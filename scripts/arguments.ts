/** What a command was told on its line: read, or refused with the reason and how it is used. */

/** Of sysexits.h: the command was used wrongly. */
const WRONG_USE = 64;

/** Ends the process. */
export function wrongUse(usage: string, why: string): never {
  process.stderr.write(`${why}\n\n${usage.trimEnd()}\n`);
  process.exit(WRONG_USE);
}

/** What `parse` makes of the words; ends the process for `--help`, and for what it throws. */
export function readWords<Read extends { readonly values: { readonly help?: boolean | undefined } }>(
  usage: string,
  parse: () => Read,
): Read {
  const read = attempt(usage, parse);
  if (read.values.help !== true) return read;
  process.stdout.write(`${usage.trimEnd()}\n`);
  process.exit(0);
}

function attempt<Read>(usage: string, parse: () => Read): Read {
  try {
    return parse();
  } catch (thrown) {
    return wrongUse(usage, thrown instanceof Error ? thrown.message : String(thrown));
  }
}

export interface WholeNumber {
  readonly name: string;
  readonly text: string;
  readonly least: number;
}

/** Ends the process when it is none. */
export function wholeNumber(usage: string, { name, text, least }: WholeNumber): number {
  const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= least) return value;
  return wrongUse(usage, `--${name} ${JSON.stringify(text)} is not a whole number from ${least} on`);
}

/** The same of several, with commas between them. */
export function wholeNumbers(usage: string, { name, text, least }: WholeNumber): readonly number[] {
  return text.split(',').map((one) => wholeNumber(usage, { name, text: one, least }));
}
