/** A root with an area in it, and a secret beside it that nothing may lead to. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Failure } from '../../src/failure.ts';
import type { Area } from '../../src/share/area.ts';
import type { Upload } from '../../src/share/change.ts';
import { bytesOf, openFile } from '../../src/share/look.ts';
import { partsOf } from '../../src/share/names.ts';

export const SECRET = 'the secret outside';

export interface Ground {
  readonly area: Area;
  /** Holds the area, its staging, and `outside/secret`. */
  readonly dir: string;
  close(): void;
}

export function ground(wish: Partial<Area> = {}): Ground {
  const dir = mkdtempSync(join(tmpdir(), 'share-'));
  for (const name of ['area', 'staging', 'outside']) mkdirSync(join(dir, name));
  writeFileSync(join(dir, 'outside', 'secret'), SECRET);
  const area: Area = {
    name: 'inbox of web-1',
    root: join(dir, 'area'),
    staging: join(dir, 'staging'),
    owner: null,
    fileMode: 0o644,
    dirMode: 0o755,
    admit() {},
    ...wish,
  };
  return { area, dir, close: () => rmSync(dir, { recursive: true, force: true }) };
}

export const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'no failure',
    (thrown) => (thrown instanceof Failure ? thrown.code : `not a Failure: ${thrown}`),
  );

export const codeIn = (act: () => unknown): string => {
  try {
    act();
    return 'no failure';
  } catch (thrown) {
    return thrown instanceof Failure ? thrown.code : `not a Failure: ${thrown}`;
  }
};

export async function* pieces(...texts: string[]): AsyncGenerator<Uint8Array> {
  for (const text of texts) yield Buffer.from(text);
}

export const upload = (text: string, wish: Partial<Upload> = {}): Upload => ({
  body: pieces(text),
  bytesMax: 1 << 20,
  isNew: false,
  makesParents: false,
  isExecutable: false,
  ...wish,
});

export async function textAt(area: Area, path: string): Promise<string> {
  const { handle, sizeBytes } = await openFile(area, partsOf(path));
  return await new Response(bytesOf(handle, { from: 0, length: sizeBytes })).text();
}
