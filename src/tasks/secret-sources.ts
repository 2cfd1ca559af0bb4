/** Where secrets may come from, and what asking for one comes to. */

export interface SecretSources {
  readonly env: { readonly [name: string]: string | undefined };
  /** Names of variables that may be referenced; `*` stands for any characters. */
  readonly names: readonly string[];
  /** Files must lie below one of these, links resolved. */
  readonly dirs: readonly string[];
  /** Absolute paths of executables, by the name that a reference begins with. */
  readonly commands: Readonly<Record<string, string>>;
}

/** `why` never holds a value. */
export type Got = { readonly value: string } | { readonly why: string };

export function sound(value: string, from: string): Got {
  if (value.includes('\0')) return { why: `${from} holds a NUL, which no environment can carry` };
  return value === '' ? { why: `${from} is empty` } : { value };
}
