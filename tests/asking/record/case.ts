/**
 * What a recorded case is made of: the program, the hands on its keyboard, and the truth about its last
 * screen.
 */
import type { Terminal } from '@xterm/headless';
import type { QuestionKind } from '../../../src/terminal.ts';

export interface Expected {
  readonly asking: boolean;
  readonly kind?: QuestionKind;
  /** A part of the question's own words. */
  readonly question?: string;
  readonly options?: number;
}

export type Step =
  | { readonly until: RegExp }
  | { readonly keys: string }
  | { readonly resize: readonly [number, number] }
  /** Wait until the program has been silent for so many milliseconds. */
  | { readonly settle: number }
  | { readonly pause: number };

export interface RecordingCase {
  readonly name: string;
  /** A shell command; it replaces the shell. */
  readonly run: string;
  /** Shell lines that run first, unseen, in the project directory. */
  readonly setup?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly cols?: number;
  readonly rows?: number;
  readonly steps: readonly Step[];
  readonly settleMs?: number;
  readonly asRoot?: boolean;
  readonly scrub?: readonly (readonly [RegExp, string])[];
  /** Starts what the program needs, such as a model server; returns how to stop it. */
  readonly before?: () => Promise<() => Promise<void>>;
  readonly expected: Expected;
}

export interface Recorded {
  readonly cols: number;
  readonly rows: number;
  readonly events: readonly (readonly [number, 'o' | 'r', string])[];
  readonly screen: Terminal;
}
