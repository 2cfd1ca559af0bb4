/** Runs a program to its end, with what it says handed on line by line. */

export interface Program {
  readonly command: readonly string[];
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Every line of its standard error. */
  readonly onLine?: (line: string) => void;
}

const LINES_KEPT = 20;

/** Returns its standard output. Throws with its last words when it fails. */
export async function run({ command, cwd, env, onLine }: Program): Promise<string> {
  const child = Bun.spawn([...command], {
    ...(cwd === undefined ? {} : { cwd }),
    env: { PATH: process.env['PATH'] ?? '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C.UTF-8', ...env },
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
  });
  // Whoever ends the builder ends what it runs; it would go on by itself.
  const end = () => {
    child.kill();
    process.exit(130);
  };
  for (const name of ['SIGTERM', 'SIGHUP'] as const) process.once(name, end);
  const last: string[] = [];
  const reading = (async () => {
    let rest = '';
    const decoder = new TextDecoder();
    for await (const bytes of child.stderr) {
      const lines = (rest + decoder.decode(bytes, { stream: true })).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        onLine?.(line);
        last.push(line);
        if (last.length > LINES_KEPT) last.shift();
      }
    }
    if (rest) last.push(rest);
  })();
  const output = await new Response(child.stdout).text();
  await reading;
  const code = await child.exited;
  for (const name of ['SIGTERM', 'SIGHUP'] as const) process.removeListener(name, end);
  if (code === 0) return output;
  throw new Error(`${command[0]} failed (exit code ${code}):\n${last.join('\n')}`);
}

export async function sha256(file: string): Promise<string> {
  const hash = new Bun.CryptoHasher('sha256');
  for await (const bytes of Bun.file(file).stream()) hash.update(bytes);
  return hash.digest('hex');
}

export const sha256Of = (text: string): string => new Bun.CryptoHasher('sha256').update(text).digest('hex');
