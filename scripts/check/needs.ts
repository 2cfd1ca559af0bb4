/**
 * Programs a tier needs: there already, or installed where that is ours to do (root on Debian), or missing
 * with a reason.
 */
import type { Need } from './tiers.ts';

/** Null when all are there; else why not. `say` is told before anything is installed. */
export function missing(needs: readonly Need[], say: (line: string) => void): string | null {
  const absent = needs.filter((need) => Bun.which(need.program) === null);
  if (absent.length === 0) return null;
  const names = absent.map((need) => need.program).join(', ');
  if (process.platform !== 'linux' || Bun.which('apt-get') === null) {
    return `${names} not found; install it and try again`;
  }
  if (process.getuid?.() !== 0) {
    return `${names} not found; apt-get install ${absent.map((need) => need.debian).join(' ')} as root`;
  }
  say(`installing ${names} (apt-get)…`);
  return install(absent.map((need) => need.debian));
}

function install(packages: readonly string[]): string | null {
  const apt = (...words: readonly string[]) =>
    Bun.spawnSync(['apt-get', '-qq', ...words], {
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
      stdin: 'ignore',
    });
  const wanted = ['install', '-y', '--no-install-recommends', ...packages];
  let done = apt(...wanted);
  if (done.exitCode !== 0) {
    // Its lists may be old or empty.
    apt('update');
    done = apt(...wanted);
  }
  if (done.exitCode === 0) return null;
  return `apt-get install ${packages.join(' ')} failed: ${done.stderr.toString().trim().split('\n').at(-1)}`;
}
