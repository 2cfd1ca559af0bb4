/**
 * Builds the agent client into one file that needs nothing but a C library: `bun agent/build.ts [OUTFILE]`.
 */
import { mkdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';

export async function buildAgent(outfile: string): Promise<void> {
  mkdirSync(dirname(outfile), { recursive: true });
  const built = await Bun.build({
    entrypoints: [join(import.meta.dir, 'main.ts')],
    // What lies in the directory it is started in is a session's, and not for it to run or read.
    compile: { outfile, autoloadDotenv: false, autoloadBunfig: false },
    minify: true,
    // Parsed at the build and not at every start, of which there are two in an instance.
    bytecode: true,
    format: 'esm',
  });
  if (!built.success) throw new Error(`the agent client did not build:\n${built.logs.join('\n')}`);
}

if (import.meta.main) {
  const outfile = resolve(process.argv[2] ?? join(import.meta.dir, '..', 'dist', 'agent-client'));
  await buildAgent(outfile);
  process.stdout.write(`${outfile}\n`);
}
