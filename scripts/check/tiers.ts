/**
 * What is checked, in this order: the cheap and telling first. A tier is one process, so that nothing of one
 * leaks into another. Every folder of tests belongs to a tier, and a contract also to those of other
 * engines; a folder that is in none is a failure.
 */
import { Glob } from 'bun';

export interface Tier {
  readonly name: string;
  /** Part of `--fast`. */
  readonly fast: boolean;
  /** One command that is right or wrong, or test files and folders below tests/. */
  readonly run:
    | { readonly command: readonly string[] }
    | {
        readonly tests: readonly string[];
        /**
         * A script, and its words, that runs the tests beside something; exit code 77: it cannot, and says
         * why.
         */
        readonly within?: readonly string[];
      };
  readonly needs: readonly Need[];
  readonly limitSeconds: number;
}

/** A program that Debian has and package.json cannot bring. */
export interface Need {
  readonly program: string;
  readonly debian: string;
}

const git: Need = { program: 'git', debian: 'git' };
const chromium: Need = { program: 'chromium', debian: 'chromium' };
const redis: Need = { program: 'redis-server', debian: 'redis-server' };
const python: Need = { program: 'python3', debian: 'python3' };

/** For images of our own, and an engine in a network of its own. */
const images: readonly Need[] = [
  { program: 'mmdebstrap', debian: 'mmdebstrap' },
  { program: 'iptables', debian: 'iptables' },
  { program: 'ip', debian: 'iproute2' },
];
const containers: readonly Need[] = [{ program: 'dockerd', debian: 'docker.io' }, ...images];
/** For an engine of an ordinary user. */
const forUsers: readonly Need[] = [
  { program: 'newuidmap', debian: 'uidmap' },
  { program: 'slirp4netns', debian: 'slirp4netns' },
];
const rootless: readonly Need[] = [
  ...containers,
  { program: 'rootlesskit', debian: 'rootlesskit' },
  ...forUsers,
];
const podman: readonly Need[] = [{ program: 'podman', debian: 'podman' }, ...images];

/** Run by the Bun that runs us, which need not be on the PATH. */
const command = (name: string, ...words: readonly string[]): Tier => ({
  name,
  fast: true,
  run: { command: [process.execPath, ...words] },
  needs: [],
  limitSeconds: 240,
});

interface TestsWish {
  readonly fast?: boolean;
  readonly needs?: readonly Need[];
  readonly limitSeconds?: number;
  readonly within?: readonly string[];
}

const tests = (name: string, paths: readonly string[], wish: TestsWish = {}): Tier => ({
  name,
  fast: wish.fast ?? false,
  run: { tests: paths, ...(wish.within ? { within: wish.within } : {}) },
  needs: wish.needs ?? [],
  limitSeconds: wish.limitSeconds ?? 300,
});

export const tiers: readonly Tier[] = [
  command('proto', 'scripts/gen.ts', '--check'),
  command('lint', 'run', 'lint'),
  command('types', 'run', 'types'),
  tests('tidy', ['tidy.test.ts'], { fast: true, needs: [git] }),
  tests('spec', ['spec.test.ts'], { fast: true, needs: [git] }),
  tests('unit', ['actors', 'asking', 'wiring'], { fast: true, needs: [python] }),
  tests('simulation', ['sim'], { fast: true, limitSeconds: 600 }),
  tests('check', ['check'], { needs: [python] }),
  tests('journal', ['journal'], { needs: [redis] }),
  tests('runtime', ['runtime']),
  tests('images', ['images'], { fast: true }),
  tests('container', ['container'], {
    needs: containers,
    within: ['scripts/check/with-engine.ts', 'docker'],
    limitSeconds: 1_500,
  }),
  tests('podman', ['podman', 'container/e2e.test.ts'], {
    needs: podman,
    within: ['scripts/check/with-engine.ts', 'podman'],
    limitSeconds: 900,
  }),
  tests('rootless', ['rootless'], {
    needs: rootless,
    within: ['scripts/check/with-engine.ts', 'rootless'],
    limitSeconds: 900,
  }),
  tests('rootless-podman', ['rootless'], {
    needs: [...podman, ...forUsers],
    within: ['scripts/check/with-engine.ts', 'rootless-podman'],
    limitSeconds: 900,
  }),
  tests('remapped', ['remapped'], {
    needs: containers,
    within: ['scripts/check/with-engine.ts', 'remapped'],
    limitSeconds: 600,
  }),
  tests('transport', ['transport', 'agent'], { limitSeconds: 400 }),
  tests('identity', ['identity']),
  tests('terminal', ['terminal']),
  tests('http', ['http', 'audit', 'share']),
  tests('gateway', ['gateway']),
  tests('tasks', ['tasks', 'model-server'], { needs: [git], limitSeconds: 300 }),
  tests('browser', ['ui'], { needs: [chromium], limitSeconds: 300 }),
  tests('e2e', ['e2e'], { needs: [git, chromium, redis], limitSeconds: 900 }),
];

/** Test files below tests/ that no tier runs. */
export function strays(root: string): string[] {
  const claimed = tiers.flatMap((tier) => ('tests' in tier.run ? tier.run.tests : []));
  const files = [...new Glob('tests/**/*.test.ts').scanSync(root)].sort();
  return files.filter(
    (file) => !claimed.some((one) => file === `tests/${one}` || file.startsWith(`tests/${one}/`)),
  );
}

/** The paths of a tier that are there: a folder may be named before its first test is written. */
export function pathsOf(root: string, paths: readonly string[]): string[] {
  const files = [...new Glob('tests/**/*.test.ts').scanSync(root)];
  return paths
    .filter((path) => files.some((file) => file === `tests/${path}` || file.startsWith(`tests/${path}/`)))
    .map((path) => `./tests/${path}${path.endsWith('.ts') ? '' : '/'}`);
}
