/** Runs an image once, confined as an instance is, and returns what its tool says of itself. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type Docker from 'dockerode';
import { ulimits } from '../src/runtime/container-spec.ts';
import type { Engine } from '../src/runtime/engine.ts';
import type { Recipe } from './recipes.ts';

const SMOKE_SECONDS = 60;

/** Throws with the tool's words when it does not end well. */
export async function smoke(
  engine: Engine,
  image: string,
  { name, smoke: command }: Recipe,
): Promise<string> {
  const path = join(import.meta.dir, 'seccomp.json');
  const profile = engine.kind === 'podman' ? path : JSON.stringify(JSON.parse(readFileSync(path, 'utf8')));
  const made = await engine.docker.createContainer({
    Image: image,
    Entrypoint: ['/usr/bin/tini', '--'],
    Cmd: ['timeout', String(SMOKE_SECONDS), ...command],
    // There is no home: an instance brings its own.
    Env: ['HOME=/tmp'],
    HostConfig: {
      NetworkMode: 'none',
      ReadonlyRootfs: true,
      CapDrop: ['ALL'],
      SecurityOpt: ['no-new-privileges:true', ...(engine.seccomp ? [`seccomp=${profile}`] : [])],
      Tmpfs: { '/tmp': 'rw,size=256m,mode=1777' },
      Ulimits: ulimits(engine),
      ...(engine.limits.processes ? { PidsLimit: 256 } : {}),
      ...(engine.limits.memory ? { Memory: 2 ** 30, MemorySwap: 2 ** 30 } : {}),
    },
  });
  try {
    await made.start();
    const { StatusCode: code } = (await made.wait()) as { StatusCode: number };
    const said = plain(await made.logs({ stdout: true, stderr: true }));
    if (code !== 0)
      throw new Error(`${name}: ${command.join(' ')} ended with ${code}:\n${said.slice(-2_000)}`);
    return said.trim().split('\n').at(-1) ?? '';
  } finally {
    await made.remove({ force: true });
  }
}

/** The engine's frames: eight bytes before each piece, of which the last four are its length. */
function plain(frames: Buffer): string {
  const parts: Buffer[] = [];
  for (let at = 0; at + 8 <= frames.length; ) {
    const length = frames.readUInt32BE(at + 4);
    parts.push(frames.subarray(at + 8, at + 8 + length));
    at += 8 + length;
  }
  return Buffer.concat(parts).toString();
}

/** Loads an archive; resolves when the engine has it. */
export async function load(docker: Docker, archive: NodeJS.ReadableStream): Promise<void> {
  for await (const _ of (await docker.loadImage(archive as never)) as AsyncIterable<unknown>);
}
