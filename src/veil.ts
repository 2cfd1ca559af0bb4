/**
 * Hides values that must not be read in a log line or a message: each is replaced, in every form in which
 * URLs, JSON and Basic authorisation carry it, by `***`. It can hide only what it was told, and only there
 * where it is asked to; what a program prints on its terminal is the program's own.
 */

/** Hiding shorter values would blacken every log and hide nothing that cannot be guessed. */
const HIDDEN_CHARS_MIN = 4;
/** The newest are kept; a server with more secrets than this at a time has other worries. */
const VALUES_MAX = 1_000;

export interface Veil {
  /** From now on hidden. */
  add(values: Iterable<string>): void;
  hide(text: string): string;
}

const formsOf = (value: string): string[] => [
  value,
  encodeURIComponent(value),
  encodeURI(value),
  JSON.stringify(value).slice(1, -1),
  Buffer.from(value).toString('base64'),
];

/** Longest first, so that no part of one is left beside another's `***`. */
function sortedForms(values: Iterable<string>): string[] {
  const hidden = [...values].filter((value) => value.length >= HIDDEN_CHARS_MIN);
  return [...new Set(hidden.flatMap(formsOf))].sort((a, b) => b.length - a.length);
}

export function veil(): Veil {
  const known = new Set<string>();
  let forms: string[] = [];
  return {
    add(values) {
      const size = known.size;
      for (const value of values) known.add(value);
      if (known.size === size) return;
      for (const oldest of known) {
        if (known.size <= VALUES_MAX) break;
        known.delete(oldest);
      }
      forms = sortedForms(known);
    },
    hide: (text) => forms.reduce((hidden, form) => hidden.replaceAll(form, '***'), text),
  };
}

/** The same for values that are all known at once. */
export function redactor(values: Iterable<string>): (text: string) => string {
  const forms = sortedForms(values);
  return (text) => forms.reduce((hidden, form) => hidden.replaceAll(form, '***'), text);
}
